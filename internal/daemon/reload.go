package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// reloader runs one reload at a time, away from the loop that heeds signals and the watchdog.
type reloader struct {
	done  chan struct{} // closed at the end of the reload under way; nil when there is none
	again bool          // asked for once more meanwhile
}

func (r *reloader) request(d *Daemon, ctx context.Context) {
	if r.done != nil {
		r.again = true
		return
	}
	done := make(chan struct{})
	r.done = done
	d.workers.Go(func() {
		defer close(done)
		d.reload(ctx)
	})
}

func (r *reloader) finished(d *Daemon, ctx context.Context) {
	r.done = nil
	if r.again {
		r.again = false
		r.request(d, ctx)
	}
}

// reload reads configuration and tables anew; the engine logs what goes wrong, and the old ones stay.
func (d *Daemon) reload(ctx context.Context) {
	notify(d.log.Logger, "RELOADING=1\nMONOTONIC_USEC="+monotonic())
	if d.engine.Reload(ctx, d.Load) == nil {
		cfg := d.engine.Config()
		d.log.SetLevel(cfg.Log.Level)
		d.Front.InForce(cfg)
	}
	notify(d.log.Logger, "READY=1")
}

// monotonic is the time stamp that systemd wants with RELOADING=1 (sd_notify(3)).
func monotonic() string {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return "0"
	}
	return fmt.Sprint(t.Nano() / int64(time.Microsecond))
}

// notify tells systemd, if it listens.
func notify(log *slog.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("cannot notify systemd", "error", err)
	}
}

// watchdogTicks ticks twice as often as systemd's watchdog wants to hear of us, or never.
func watchdogTicks(log *slog.Logger) (ticks <-chan time.Time, stop func()) {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("cannot read what systemd's watchdog wants", "error", err)
	}
	if err != nil || interval < 2 {
		return nil, func() {}
	}
	t := time.NewTicker(interval / 2)
	return t.C, t.Stop
}
