package web

import (
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/page"
	"github.com/asimalizada/pulse-events/pulsectl/internal/platform"
)

// Limits of the server. A stream of events changes its own.
const (
	headerLimit = 5 * time.Second
	readLimit   = 15 * time.Second
	writeLimit  = time.Minute
	idleLimit   = time.Minute
	stopLimit   = 3 * time.Second
	maxHeader   = 64 << 10
)

// minToken is how long a token has to be: it is all that protects the page.
const minToken = 16

// token reads the token, if one is needed or given. It is an error if the address
// can be reached from other machines without one.
func (o options) token() (string, error) {
	loopback, err := isLoopback("addr", o.addr)
	if err != nil {
		return "", err
	}
	if o.tokenFile == "" {
		if !loopback {
			return "", fail.Usagef("write a secret to a file, and give: --token-file FILE", "--addr: %s can be reached from other machines, and no token protects the page", o.addr)
		}
		return "", nil
	}
	content, err := os.ReadFile(o.tokenFile)
	if err != nil {
		return "", fail.Usagef("", "--token-file: %v", err)
	}
	token := strings.TrimSpace(string(content))
	if len(token) < minToken || strings.ContainsAny(token, "\r\n") {
		return "", fail.Usagef("for example: head -c 24 /dev/urandom | base64 > "+o.tokenFile, "--token-file: the file has to hold one line of at least %d characters", minToken)
	}
	return token, nil
}

func isLoopback(flag, addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, fail.Usagef("for example: --"+flag+" "+DefaultAddr, "--%s: %q is not HOST:PORT", flag, addr)
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback(), nil
}

// Listen opens an address for the page. If it is in use and nobody has asked for it,
// any free one is taken instead. flag is named in errors.
func Listen(flag, addr string, asked bool) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if platform.AddressInUse(err) && !asked {
		ln, err = net.Listen("tcp", anyPort)
	}
	if err != nil {
		return nil, &fail.Error{Kind: fail.Usage, Message: "web page: cannot listen at " + addr, Cause: err, Hint: "choose a free address: --" + flag + " " + anyPort}
	}
	return ln, nil
}

// anyPort lets the system choose a port.
const anyPort = "127.0.0.1:0"

// CheckAddr returns an error unless an address is loopback: without a token nobody
// else may reach the page.
func CheckAddr(flag, addr string) error {
	loopback, err := isLoopback(flag, addr)
	if err == nil && !loopback {
		err = fail.Usagef("for others: pulsectl ui --addr "+addr+" --token-file FILE", "--%s: %s can be reached from other machines", flag, addr)
	}
	return err
}

// guard lets requests with the token through: as a bearer token, or as the
// password of any user, which a browser asks for. An empty token lets all through.
func guard(next http.Handler, token string) http.Handler {
	if token == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !bearer {
			_, given, _ = r.BasicAuth()
		}
		if subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="Pulse Events, the token as password", charset="UTF-8"`)
			http.Error(w, "the token is missing or wrong", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Serve serves the page until ctx ends, and closes ln. entrance is the handler to
// enter by. If follow is set, the overview has a history before somebody looks; the
// servers are asked all the time for that.
func Serve(ctx context.Context, ln net.Listener, h *page.Handler, entrance http.Handler, follow bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	server := &http.Server{
		Handler: entrance, ReadHeaderTimeout: headerLimit, ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: maxHeader, BaseContext: func(net.Listener) context.Context { return ctx }, // streams end with it
	}
	if follow {
		working.Go(func() { h.Follow(ctx) })
	}
	working.Go(func() {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		if server.Shutdown(limit) != nil {
			_ = server.Close()
		}
	})
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fail.Wrap("the page ended", err)
	}
	return nil
}
