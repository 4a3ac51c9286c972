// Gatepost-milter decides for sendmail and Postfix, over the milter protocol,
// which mail may be relayed.
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
