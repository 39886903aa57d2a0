// Package bip39 is the phrase of twelve words that a user writes down: 128
// random bits as BIP-39 encodes them, with its English word list.
//
// BIP-39 (https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki) appends
// to ENT bits of entropy the first ENT/32 bits of their SHA-256, and takes each
// eleven bits as the number of a word. Twelve words have 128 bits of entropy
// and 4 of checksum. For instance, sixteen zero bytes are
//
//	abandon abandon abandon abandon abandon abandon
//	abandon abandon abandon abandon abandon about
//
// The checksum finds one wrong word fifteen times out of sixteen, so what parses
// need not be what was written down.
//
// Keys are made from the seed, section "From mnemonic to seed": PBKDF2 with
// HMAC-SHA-512, 2048 iterations, the words joined by single spaces as password
// and "mnemonic" as salt. BIP-39's own passphrase, which would be appended to
// the salt, is always empty. The list is ASCII, so NFKD, which the section asks for,
// changes nothing. Any other implementation makes the same seed of the same words.
//
// 2048 iterations do not protect a phrase that a person made up. [New] draws
// all bits at random, and that is what protects it.
package bip39

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Count is how many words a phrase has.
const Count = 12

// MaxText is the most that Parse reads, in bytes; twelve words of the list have at
// most 107.
const MaxText = 1024

// Errors of Parse, in the order in which they are looked for.
var (
	// ErrLong means that a text has more than MaxText bytes.
	ErrLong = errors.New("phrase is far too long")
	// ErrChecksum means that all words are on the list, and that they are not a
	// phrase: one is wrong, or two are exchanged.
	ErrChecksum = errors.New("words do not belong together")
)

// A CountError says how many words there were instead of twelve.
type CountError struct{ Count int }

func (e *CountError) Error() string {
	return fmt.Sprintf("phrase of %d words, wanted %d", e.Count, Count)
}

// A WordError names the first word that is not on the list. Error leaves the
// word itself out: it may be one letter away from a secret.
type WordError struct {
	Number int    // from 1 on
	Word   string // in lower case
}

func (e *WordError) Error() string { return fmt.Sprintf("word %d is not on the list", e.Number) }

// A Phrase is twelve words whose checksum is right. The zero Phrase has none.
type Phrase struct{ words []string }

// New draws a phrase.
func New(random io.Reader) (Phrase, error) {
	entropy := make([]byte, 16)
	if _, err := io.ReadFull(random, entropy); err != nil {
		return Phrase{}, fmt.Errorf("randomness: %w", err)
	}
	return Phrase{encode(entropy)}, nil
}

// Parse reads what a user typed or pasted: white space of any kind around and
// between the words, and capital letters, make no difference. Words must be
// complete.
func Parse(text string) (Phrase, error) {
	if len(text) > MaxText {
		return Phrase{}, ErrLong
	}
	words := strings.FieldsFunc(text, unicode.IsSpace)
	if len(words) != Count {
		return Phrase{}, &CountError{len(words)}
	}
	for i, w := range words {
		words[i] = lower(w)
	}
	if _, err := decode(words); err != nil {
		return Phrase{}, err
	}
	return Phrase{words}, nil
}

// lower turns A to Z into a to z. Unicode's rules would make the Kelvin sign a k.
func lower(word string) string {
	b := []byte(word)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Words returns the words, for the one time that they are shown.
func (p Phrase) Words() []string { return append([]string(nil), p.words...) }

// Seed returns the 64 bytes that keys are made from. It takes some
// milliseconds, and panics on the zero Phrase.
func (p Phrase) Seed() []byte {
	if len(p.words) != Count {
		panic("bip39: seed of no phrase")
	}
	return seed(p.words, "")
}

// Equal reports whether two phrases are the same.
func (p Phrase) Equal(q Phrase) bool { return sentence(p.words) == sentence(q.words) }

// Format keeps fmt's verbs from printing the words.
func (p Phrase) Format(s fmt.State, _ rune) { io.WriteString(s, "bip39.Phrase") }

func sentence(words []string) string { return strings.Join(words, " ") }

func seed(words []string, passphrase string) []byte {
	key, err := pbkdf2.Key(sha512.New, sentence(words), []byte("mnemonic"+passphrase), 2048, 64)
	if err != nil {
		panic(err) // only lengths that FIPS 140 refuses
	}
	return key
}

// Words draws n words, each of the 2048 equally likely and independent of the
// others: 11 bits each, to suggest a passphrase. They have no checksum and are
// no Phrase.
func Words(random io.Reader, n int) ([]string, error) {
	b := make([]byte, 2*n)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	words := make([]string, n)
	for i := range words {
		words[i] = list[int(binary.BigEndian.Uint16(b[2*i:]))%len(list)] // 2¹⁶ is a multiple of 2048
	}
	return words, nil
}
