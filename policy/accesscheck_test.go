package policy

import (
	"fmt"
	"sync"
	"testing"
)

// Remembered or not, the answer is CheckAccess's.
func TestAccessCheck(t *testing.T) {
	keys := []string{"connect:192.0.2.1", "from:", "to:a@b.example", "ipv6:2001:db8::1", "192.0.2", "spam:friend", "greetpause:x", ""}
	values := []string{"OK", "reject", "ERROR:", "ERROR:5.7.1:550 no", "ERROR:250 yes", "250 yes", "550 no", "DISCARD", "QUARANTINE:", "", "x"}
	for i := range 1000 { // more than are remembered
		values = append(values, fmt.Sprintf("550 no %d", i), fmt.Sprintf("250 yes %d", i))
	}
	check := AccessCheck()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3 {
				for _, v := range values {
					for _, k := range keys {
						if got, want := fmt.Sprint(check(k, v)), fmt.Sprint(CheckAccess(k, v)); got != want {
							t.Errorf("%q %q: %s, want %s", k, v, got, want)
						}
					}
				}
			}
		})
	}
	all.Wait()
}

func TestAccessCheckAllocatesNothing(t *testing.T) {
	check := AccessCheck()
	if n := testing.AllocsPerRun(100, func() { _ = check("connect:192.0.2.1", "ERROR:5.7.1:550 no") }); n != 0 {
		t.Errorf("a value seen before allocates %v times, want 0", n)
	}
}
