package program

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// healthLimit bounds a health check: more than the service itself takes to
// find its database unreachable, so that the answer says so.
const healthLimit = 4 * time.Second

// checkHealth asks the service that listens on addr whether it is ready.
func checkHealth(addr string, overTLS bool, stderr io.Writer) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), healthLimit)
	defer cancel()
	if err := askReady(ctx, addr, overTLS); err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return failed
	}
	return succeeded
}

func askReady(ctx context.Context, addr string, overTLS bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	// Who listens on all addresses, of either family, listens on this one.
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if overTLS {
		scheme = "https"
	}
	url := scheme + "://" + net.JoinHostPort(host, port) + "/health/ready"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// Whatever proxy the environment names, the service is right here.
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		// The certificate is for the name that others use, and nothing secret is
		// sent or learned: whoever is on this machine may ask for health.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
	}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // the status tells enough
		return fmt.Errorf("%s answers %s: %s", url, res.Status, body)
	}
	return nil
}
