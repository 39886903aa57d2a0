// Package must is for tests: what has to work there ends the test if it does not.
package must

import "testing"

// Get returns a function that takes what a call returned, and gives the value if there is no error.
func Get[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
