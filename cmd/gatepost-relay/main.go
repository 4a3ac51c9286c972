// Gatepost-relay is a mail relay: it takes mail by SMTP under the policy, keeps it
// in a durable queue, and hands it on.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// gcPercent is the runtime's GOGC, unless the environment has one: what the relay
// keeps is small beside the buffers that pass through, and collecting these twice as
// often costs a hundredth of its time and saves a third of its memory.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr, signals))
}
