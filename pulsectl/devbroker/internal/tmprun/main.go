package main

import (
	"context"
	"log/slog"
	"net/http"
	_ "net/http/pprof"
	"os"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func main() {
	lvl := slog.LevelWarn
	if os.Getenv("V") != "" {
		lvl = slog.LevelInfo
	}
	b, err := devbroker.Start(context.Background(), devbroker.Config{Addr: os.Args[1], DataDir: os.Args[2], Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: lvl}))})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	http.ListenAndServe("127.0.0.1:36060", nil)
}
