package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// health is the body of /health/ready as far as it is promised.
type health struct {
	Status string
	Relay  struct{ State string }
}

func (v *visitor) ready(ctx context.Context, base string) (health, error) {
	a, err := v.ask(ctx, http.MethodGet, base+"/health/ready", "")
	if err != nil {
		return health{}, err
	}
	h, err := decode[health](a, http.StatusOK)
	if err == nil && h.Status != "ready" {
		err = a.wrong("want the status ready")
	}
	if err == nil {
		err = v.tellsNoNames(a)
	}
	return h, err
}

func healthIsTold(ctx context.Context, v *visitor) error {
	var problems []error
	for _, base := range []string{v.OrdersURL, v.NotificationsURL} {
		a, err := v.ask(ctx, http.MethodGet, base+"/health/live", "")
		if err == nil && a.status != http.StatusOK {
			err = a.wrong("want status 200")
		}
		_, readyErr := v.ready(ctx, base)
		problems = append(problems, err, readyErr)
	}
	return errors.Join(problems...)
}

// outageIsHarmless tells the whole story: the broker goes, orders are taken all
// the same, it comes back, and without a hand every order has its notification.
func outageIsHarmless(ctx context.Context, v *visitor) (err error) {
	p, err := v.place(ctx, someOrder)
	if err != nil {
		return err
	}
	if _, err := v.awaitNotification(ctx, p.OrderID); err != nil {
		return err
	}
	if err := v.StopBroker(ctx); err != nil {
		return fmt.Errorf("stop the broker: %w", err)
	}
	up := false
	defer func() {
		if !up {
			err = errors.Join(err, v.StartBroker(context.WithoutCancel(ctx)))
		}
	}()
	var during []placed
	for range 10 {
		p, err := v.place(ctx, someOrder)
		if err != nil {
			return fmt.Errorf("while the broker is down: %w", err)
		}
		during = append(during, p)
	}
	err = v.until(ctx, "the relay to be shown as degraded", func() (bool, error) {
		h, err := v.ready(ctx, v.OrdersURL)
		return h.Relay.State == "degraded", err
	})
	if err != nil {
		return err
	}
	if _, err := v.ready(ctx, v.NotificationsURL); err != nil {
		return fmt.Errorf("while the broker is down: %w", err)
	}
	for _, p := range during {
		if list, err := v.notificationsOf(ctx, p.OrderID); err != nil || len(list) != 0 {
			return errors.Join(err, fmt.Errorf("%d notifications of order %s while the broker is down: is it?", len(list), p.OrderID))
		}
	}
	up = true
	if err := v.StartBroker(ctx); err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	for _, p := range during {
		if _, err := v.awaitNotification(ctx, p.OrderID); err != nil {
			return err
		}
	}
	return v.until(ctx, "the relay to be well again", func() (bool, error) {
		h, err := v.ready(ctx, v.OrdersURL)
		return h.Relay.State == "running", err
	})
}
