package gin

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// handler answers a request, or returns why it cannot: an *api.Error where it
// is the client's fault.
type handler func(c *gin.Context) error

type route struct {
	method, path string
	handle       handler
}

func (to route) routed(c *gin.Context) error {
	api.Routed(c.Request.Context(), c.Request.Method, to.path)
	return to.handle(c)
}

// newEngine serves routes, and answers whatever else is asked in the shape of
// every other error.
func newEngine(log *slog.Logger, guard *api.Guard, routes []route) http.Handler {
	gin.SetMode(gin.ReleaseMode) // a setting of the process: in any other mode Gin prints to stdout
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	engine.UseEscapedPath = true       // %2F in an id is part of the id
	engine.ForwardedByClientIP = false // no proxy is trusted to say who asks
	engine.Use(observe(log, guard), recovered(log))
	for _, r := range routes {
		engine.Handle(r.method, r.path, answer(log, r.routed))
		if r.method == http.MethodGet {
			engine.HEAD(r.path, answer(log, r.routed))
		}
	}
	engine.NoRoute(answer(log, func(*gin.Context) error { return api.NotFound() }))
	engine.NoMethod(answer(log, methodNotAllowed))
	return engine
}

// methodNotAllowed finds the methods in the header that Gin has set, in no
// order.
func methodNotAllowed(c *gin.Context) error {
	methods := strings.Split(c.Writer.Header().Get("Allow"), ", ")
	slices.Sort(methods)
	allowed := strings.Join(methods, ", ")
	c.Header("Allow", allowed)
	return api.MethodNotAllowed(allowed)
}

// answer runs h and writes its error, if any.
func answer(log *slog.Logger, h handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := h(c); err != nil {
			fail(c, api.Explain(c.Request.Context(), log, err))
		}
	}
}

func fail(c *gin.Context, e *api.Error) {
	c.Abort()
	api.WriteError(c.Writer, e)
}

// recovered makes a panic an error of ours.
func recovered(log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			if p := recover(); p != nil {
				fail(c, api.Recovered(c.Request.Context(), log, p))
			}
		}()
		c.Next()
	}
}

// observe gives each request its correlation id, its trace context, its caller
// and its deadline, refuses what the guard refuses, and writes one line to the access log.
func observe(log *slog.Logger, guard *api.Guard) gin.HandlerFunc {
	return func(c *gin.Context) {
		started := time.Now()
		ctx, refusal := guard.Enter(c.Request)
		ctx, cancel := context.WithTimeout(ctx, api.RequestTimeout)
		defer cancel()
		c.Request = c.Request.WithContext(ctx)
		c.Header(wire.HeaderCorrelationID, outbox.CorrelationID(ctx))
		defer func() {
			size := max(0, c.Writer.Size()) // -1: nothing was written
			api.Access{Started: started, Status: c.Writer.Status(), Bytes: int64(size), About: about(c)}.Log(ctx, log, c.Request)
		}()
		if refusal != nil {
			fail(c, refusal)
			return
		}
		c.Next()
	}
}

type aboutKey struct{}

// annotate adds what the request was about to its line in the access log.
func annotate(c *gin.Context, attrs ...slog.Attr) {
	c.Set(aboutKey{}, append(about(c), attrs...))
}

func about(c *gin.Context) []slog.Attr {
	value, _ := c.Get(aboutKey{})
	attrs, _ := value.([]slog.Attr)
	return attrs
}

// allow lets callers with the scope through to h.
func allow(scope string, h handler) handler {
	return func(c *gin.Context) error {
		if err := api.Require(c.Request.Context(), scope); err != nil {
			return err
		}
		return h(c)
	}
}

// always is a handler that answers every request itself.
func always(h http.Handler) handler {
	return func(c *gin.Context) error {
		h.ServeHTTP(c.Writer, c.Request)
		return nil
	}
}
