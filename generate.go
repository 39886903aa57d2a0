// Package kmsenclave is a key-management service that runs inside the user's
// browser and that anyone can verify. See README.md.
package kmsenclave

//go:generate go run ./internal/gen
