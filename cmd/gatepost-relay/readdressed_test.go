package main

import (
	"context"
	"io"
	"testing"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

type letterFor []spool.Notify

func (l letterFor) Size() int64                      { return 0 }
func (l letterFor) Open() (io.ReadSeekCloser, error) { return nil, io.EOF }
func (l letterFor) Envelope() (e spool.Envelope) {
	for _, n := range l {
		e.Recipients = append(e.Recipients, spool.Recipient{Address: "bob@example.net", Notify: n})
	}
	return e
}

type asked struct{ notify spool.Notify }

func (*asked) String() string { return "asked" }
func (a *asked) Deliver(_ context.Context, _ string, m deliver.Message, to []int) []deliver.Result {
	a.notify = m.Envelope().Recipients[to[0]].Notify
	return []deliver.Result{{Outcome: deliver.Delivered, Notifies: true}}
}

// TestRedirectedNotify: one recipient who stands for several is asked for what any of them
// is to be told of; the others' receipts are not the next hop's business.
func TestRedirectedNotify(t *testing.T) {
	const never, success, failure, delay = spool.NotifyNever, spool.NotifySuccess, spool.NotifyFailure, spool.NotifyDelay
	for _, tc := range []struct {
		of   letterFor
		want spool.Notify
	}{
		{letterFor{never}, never},
		{letterFor{never, never}, never},
		{letterFor{never, 0}, 0},
		{letterFor{0, never}, 0},
		{letterFor{never, success}, success},
		{letterFor{success, 0}, success | failure | delay},
		{letterFor{0, never, failure}, failure | delay},
		{letterFor{success, never, failure}, success | failure},
	} {
		x := &asked{}
		to := make([]int, len(tc.of))
		for i := range to {
			to[i] = i
		}
		results := redirected{x, "joe@example.com"}.Deliver(t.Context(), "", tc.of, to)
		if x.notify != tc.want || len(results) != len(to) {
			t.Errorf("%v: asked for %v, want %v; %d results", tc.of, x.notify, tc.want, len(results))
		}
		for i, r := range results {
			if r.Notifies != (i == 0) {
				t.Errorf("%v: result %d: %+v", tc.of, i, r)
			}
		}
	}
}
