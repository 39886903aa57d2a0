package verify

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/kms-enclave/kms-enclave/release"
)

// compareFile returns a difference unless content is the file that the manifest
// lists.
func compareFile(file, shape string, content []byte, want release.FileInfo) error {
	if len(content) != want.Size {
		got := fmt.Sprintf("%d bytes", len(content))
		if len(content) > want.Size {
			got = fmt.Sprintf("more than %d bytes", want.Size)
		}
		return &Difference{File: file, Shape: shape, What: "size", Got: got, Want: fmt.Sprintf("%d bytes", want.Size)}
	}
	if got := release.Integrity(content); got != want.SHA384 {
		return &Difference{File: file, Shape: shape, What: "bytes", Got: got, Want: want.SHA384}
	}
	return nil
}

// firstDifference describes where two texts part: the offset, and a few bytes
// of each in hex, so that nothing of them reaches a terminal as it is.
func firstDifference(got, want []byte) (at int, excerptGot, excerptWant string) {
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	excerpt := func(b []byte) string {
		if at >= len(b) {
			return fmt.Sprintf("the end, at byte %d", at)
		}
		return fmt.Sprintf("%x at byte %d", b[at:min(at+16, len(b))], at)
	}
	return at, excerpt(got), excerpt(want)
}

// decodings are the content codings (RFC 9110 section 8.4.1) that the browsers
// announce, without deflate, which no server of ours sends.
var decodings = map[string]func(io.Reader) (io.Reader, error){
	"":         func(r io.Reader) (io.Reader, error) { return r, nil },
	"identity": func(r io.Reader) (io.Reader, error) { return r, nil },
	"gzip": func(r io.Reader) (io.Reader, error) {
		b := bufio.NewReader(r)
		g, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		g.Multistream(false) // browsers take the first member alone
		return &single{g, b}, nil
	},
	"br": func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
	"zstd": func(r io.Reader) (io.Reader, error) {
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(8<<20)) // RFC 9659
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	},
}

// single is one member of gzip with nothing behind it.
type single struct {
	member *gzip.Reader
	rest   *bufio.Reader
}

func (s *single) Read(b []byte) (int, error) {
	n, err := s.member.Read(b)
	if err == io.EOF {
		if _, more := s.rest.Peek(1); more == nil {
			return n, errors.New("something follows the compressed text")
		}
	}
	return n, err
}

// readDecoded reads at most limit decoded bytes, and one more if there are more.
func readDecoded(coding string, r io.Reader, limit int) ([]byte, error) {
	decode, ok := decodings[coding]
	if !ok {
		return nil, fmt.Errorf("content coding %q was not asked for", coding)
	}
	d, err := decode(r)
	if err != nil {
		return nil, err
	}
	if c, ok := d.(io.Closer); ok {
		defer c.Close()
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(d, int64(limit)+1))
	return b.Bytes(), err
}
