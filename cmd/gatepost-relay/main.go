// Gatepost-relay is a mail relay: it takes mail by SMTP under the policy, keeps it
// in a durable queue, and hands it on.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr, signals))
}
