// Package peers holds our packages against others that do the same: what one makes, the
// other must take. Everything is in its tests.
package peers
