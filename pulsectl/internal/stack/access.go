package stack

import (
	"cmp"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// readAuth reads from the environment whom the services of this process let in.
// Beside those they let in a token of the stack's own, which is in its record,
// so that pulsectl and the web page can use them. open: without any variable
// nobody is asked; otherwise only that token is taken.
func (cfg *Config) readAuth(open bool) error {
	lookup := func(name string) (string, bool) {
		value := cfg.Getenv(name)
		return value, value != ""
	}
	given := auth.GivenInEnv(lookup)
	if !given && open {
		return nil
	}
	secret, own, err := auth.NewToken(auth.Token{Name: "pulsectl"})
	if err != nil {
		return err
	}
	if given {
		cfg.auth, err = auth.FromEnv(lookup, cfg.Logger, own)
	} else {
		cfg.auth, err = auth.New(auth.Config{Tokens: auth.Tokens{own}, Logger: cfg.Logger})
	}
	if err != nil {
		return fail.Usagef("", "%v", err)
	}
	if cfg.auth != nil {
		cfg.apiToken = secret
	}
	return nil
}

// readLimits reads how many requests the services of this process take.
func (cfg *Config) readLimits() error {
	given := map[string]string{"PULSE_RATE_LIMIT": cfg.RateLimit, "PULSE_RATE_LIMIT_PER_CALLER": cfg.CallerRateLimit}
	err := cfg.served.ReadLimits(func(name string) (string, bool) {
		value := cmp.Or(given[name], cfg.Getenv(name))
		return value, value != ""
	})
	if err != nil {
		return fail.Usagef("see --rate-limit and --rate-limit-per-caller in: pulsectl up --help", "%v", err)
	}
	return nil
}

// refuseCertificates refuses certificates for HTTPS that the programs orders and
// notifications take: up records, and asks, addresses of this machine, which they are
// hardly for. To serve HTTP in their place would be worse.
func (cfg *Config) refuseCertificates() error {
	for _, name := range []string{"PULSE_HTTP_CERT_FILE", "PULSE_HTTP_KEY_FILE", "PULSE_HTTP_CLIENT_CA_FILE"} {
		if cfg.Getenv(name) != "" {
			return fail.Usagef("unset it; for HTTPS by a certificate that is made at each start: pulsectl up --tls",
				"%s: up takes no certificates; the programs orders and notifications do", name)
		}
	}
	return nil
}
