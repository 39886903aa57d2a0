// Package mutation switches the faults that the simulator's tests put into copies of
// our own code, one at a time. No code imports it: the copies do, and only the
// compiler of that test sees them.
package mutation

import "os"

var on = os.Getenv("KMS_MUTATION")

// Is reports whether a fault is the one that is switched on.
func Is(name string) bool { return on == name }
