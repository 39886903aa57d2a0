package bip39

import (
	"crypto/sha256"
	_ "embed"
	"slices"
	"strings"
)

// english.txt is BIP-39's English list: 2048 words in order, one a line.
//
//go:embed english.txt
var english string

var list = strings.Fields(english)

// encode encodes 128, 160, 192, 224 or 256 bits of entropy: BIP-39, "Generating
// the mnemonic".
func encode(entropy []byte) []string {
	checksum := sha256.Sum256(entropy)
	bits := append(slices.Clone(entropy), checksum[0]) // at most 8 bits of it are used
	words := make([]string, len(entropy)*8*33/32/11)
	for i := range words {
		words[i] = list[eleven(bits, 11*i)]
	}
	return words
}

// eleven returns the eleven bits that begin with bit at.
func eleven(bits []byte, at int) (n int) {
	for i := at; i < at+11; i++ {
		n = n<<1 | int(bits[i/8]>>(7-i%8)&1)
	}
	return n
}

// decode is the inverse of encode. The number of words must be one that encode gives.
func decode(words []string) (entropy []byte, err error) {
	bits := make([]byte, len(words)*11/8+1)
	for i, w := range words {
		n, ok := slices.BinarySearch(list, w)
		if !ok {
			return nil, &WordError{i + 1, w}
		}
		for j := range 11 {
			at := 11*i + j
			bits[at/8] |= byte(n>>(10-j)&1) << (7 - at%8)
		}
	}
	entropy = bits[:len(words)*11*32/33/8]
	if !slices.Equal(encode(entropy), words) {
		return nil, ErrChecksum
	}
	return entropy, nil
}
