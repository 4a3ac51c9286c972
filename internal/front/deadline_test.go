package front

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadlineContext(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, d *deadline, cancelParent func())
	}{
		{"nobody waits", func(t *testing.T, d *deadline, _ func()) {
			if d.Err() != nil || d.real != nil {
				t.Errorf("before: %v, real context %v", d.Err(), d.real)
			}
			time.Sleep(time.Second)
			if !errors.Is(d.Err(), context.DeadlineExceeded) || d.real != nil {
				t.Errorf("after: %v, real context %v", d.Err(), d.real)
			}
		}},
		{"waited for", func(t *testing.T, d *deadline, _ func()) {
			start := time.Now()
			<-d.Done()
			if time.Since(start) != time.Second || !errors.Is(d.Err(), context.DeadlineExceeded) {
				t.Errorf("after %v: %v", time.Since(start), d.Err())
			}
		}},
		{"parent ends, nobody waits", func(t *testing.T, d *deadline, cancelParent func()) {
			cancelParent()
			if !errors.Is(d.Err(), context.Canceled) {
				t.Errorf("got %v", d.Err())
			}
		}},
		{"parent ends, waited for", func(t *testing.T, d *deadline, cancelParent func()) {
			done := d.Done()
			cancelParent()
			<-done
			if !errors.Is(d.Err(), context.Canceled) {
				t.Errorf("got %v", d.Err())
			}
		}},
		{"a context made of it ends with it", func(t *testing.T, d *deadline, _ func()) {
			child, cancel := context.WithTimeout(d, time.Hour)
			defer cancel()
			<-child.Done()
			if !errors.Is(child.Err(), context.DeadlineExceeded) {
				t.Errorf("got %v", child.Err())
			}
		}},
		{"ended by its owner", func(t *testing.T, d *deadline, _ func()) {
			child, cancel := context.WithCancel(d)
			defer cancel()
			d.end()
			<-child.Done()
		}},
		{"values of the parent", func(t *testing.T, d *deadline, _ func()) {
			if d.Value(testKey{}) != "value" {
				t.Error("lost")
			}
			d.Done()
			if d.Value(testKey{}) != "value" {
				t.Error("lost once waited for")
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(context.Background(), testKey{}, "value"))
				defer cancel()
				d := newDeadline(parent, time.Now().Add(time.Second))
				defer d.end()
				if at, ok := d.Deadline(); !ok || time.Until(at) != time.Second {
					t.Errorf("Deadline() = %v, %v", at, ok)
				}
				tt.run(t, d, cancel)
			})
		})
	}
}

type testKey struct{}
