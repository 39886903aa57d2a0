// Package passphrase makes a key of what a user remembers: Argon2id
// (RFC 9106), version 1.3, one lane, 32 bytes out.
//
// # What it protects against
//
// Whoever copies a browser's profile has the salt and the wrapped key, and can
// try passphrases without asking anybody and without end. Each try costs them what
// [Derive] costs: [Calibrate] chooses about half a second of this device, and
// 64 MiB of memory where that is possible, so that many tries at once need much memory, which
// is what makes them expensive on graphics cards and on special hardware. The
// [Floor] is OWASP's minimum for Argon2id (Password Storage Cheat Sheet). The
// share, which the app keeps, is mixed in elsewhere: without it
// there is nothing to try against.
//
// # What it does not protect against
//
//   - A passphrase that is easy to guess. Attackers try likely ones first, on machines that
//     are faster than a browser, perhaps ten times; [MinChars] stops the shortest only.
//     Four words drawn at random from a list of 2048 have 44 bits, six have 66.
//   - Whoever sees it: in the dialog, at the keyboard, or in the memory of
//     the page and of this module. Nothing in a browser can promise to
//     wipe memory. The memory of WebAssembly does not shrink either: what one derivation
//     took, the module keeps until its worker ends.
//   - One passphrase used twice. The salt only keeps tries for one vault from counting for another.
//
// # Text
//
// A passphrase is bytes here. That the same one typed on another keyboard gives
// the same bytes is the frame's work, which normalises it (NFKC, and white
// space) before it comes here. [Check] is for a new passphrase; [Derive]
// takes also those that later rules would refuse, or they would lock people out.
package passphrase

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Limits of a passphrase.
const (
	MinChars = 10   // code points of a new one
	MaxBytes = 1024 // bytes of UTF-8 of any
)

// Sizes in bytes.
const (
	MinSalt = 16 // RFC 9106 section 3.1 recommends it
	KeySize = 32
)

// What is wrong with a passphrase. No error repeats any of it.
var (
	ErrShort = errors.New("passphrase is too short")
	ErrLong  = errors.New("passphrase is too long")
	// ErrOdd means ill-formed UTF-8; a control character, which no two keyboards
	// give alike; or U+FFFD, which stands where a character was lost.
	ErrOdd = errors.New("passphrase has characters that cannot be relied on")
)

// Check says whether a passphrase may be set.
func Check(text string) error {
	switch {
	case len(text) > MaxBytes:
		return ErrLong
	case !utf8.ValidString(text) || strings.ContainsFunc(text, odd):
		return ErrOdd
	case utf8.RuneCountInString(text) < MinChars:
		return ErrShort
	}
	return nil
}

func odd(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }

// Derive returns KeySize bytes. It takes as long and as much memory as p says, does
// not stop early, and in a browser nothing else of this module runs meanwhile.
func Derive(text string, salt []byte, p Params) ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if len(text) > MaxBytes {
		return nil, ErrLong
	}
	if len(salt) < MinSalt {
		return nil, fmt.Errorf("salt of %d bytes, wanted at least %d", len(salt), MinSalt)
	}
	key := argon2.IDKey([]byte(text), salt, p.Passes, p.MemoryKiB, 1, KeySize)
	// Otherwise the next derivation finds the memory of this one still taken, and
	// the module grows to twice as much: 150 MiB instead of 86 with 64 MiB, in Chromium.
	runtime.GC()
	return key, nil
}
