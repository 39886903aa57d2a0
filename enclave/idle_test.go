//go:build !js

package enclave

import (
	"testing"
	"time"
	"unsafe"
)

// asleep returns a time by whose monotonic clock d less has passed than by the time of
// day: the machine has slept for so long. No function of package time makes one.
func asleep(now time.Time, d time.Duration) time.Time {
	monotonic := (*int64)(unsafe.Add(unsafe.Pointer(&now), unsafe.Sizeof(uint64(0))))
	*monotonic -= int64(d)
	return now
}

// TestPassed: the clock that says more counts.
func TestPassed(t *testing.T) {
	from := time.Now()
	slept := asleep(from.Add(time.Hour), time.Hour)
	if slept.Sub(from) != 0 || slept.Round(0).Sub(from.Round(0)) != time.Hour {
		t.Fatal("this is not how package time keeps its clocks; the test proves nothing")
	}
	for name, test := range map[string]struct {
		to   time.Time
		want time.Duration
	}{
		"at once":             {from, 0},
		"awake":               {from.Add(time.Minute), time.Minute},
		"asleep":              {slept, time.Hour},
		"the clock set back":  {asleep(from.Add(time.Minute-time.Hour), -time.Hour), time.Minute},
		"no monotonic clock":  {from.Round(0).Add(time.Minute), time.Minute},
		"half of it asleep":   {asleep(from.Add(2*time.Hour), time.Hour), 2 * time.Hour},
		"no clock of its own": {from.Round(0), 0},
	} {
		if got := passed(from, test.to); got != test.want {
			t.Errorf("%s: %v passed, %v wanted", name, got, test.want)
		}
	}
}

// TestIdleAsleep: a vault is over-due as soon as the machine wakes up.
func TestIdleAsleep(t *testing.T) {
	now := time.Now()
	i := idle{lock: func() {}, now: time.Now}
	defer i.stop()
	i.start(now, 15*time.Minute)
	if i.over(now.Add(15*time.Minute - 1)) {
		t.Error("over before its time")
	}
	if !i.over(asleep(now.Add(time.Hour), time.Hour)) {
		t.Error("a machine that slept for an hour has an open vault")
	}
	i.touch(now.Add(time.Hour))
	if i.over(now.Add(time.Hour + 14*time.Minute)) {
		t.Error("it was used")
	}
	i.stop()
	if i.over(now.Add(1000 * time.Hour)) {
		t.Error("nothing is to be locked")
	}
}
