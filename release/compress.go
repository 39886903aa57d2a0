package release

import (
	"bytes"
	"compress/gzip"
	"path"

	"github.com/andybalholm/brotli"
)

// encodings are the suffixes of compressed forms, by their name in HTTP.
var encodings = map[string]string{"br": ".br", "gzip": ".gz"}

// Compress returns the compressed forms of a file that web servers pick up:
// Brotli at level 11, which takes some ten seconds for the module, and gzip.
// They are for the wire only. What is measured, signed and compared is the raw
// file: compressors may change between versions.
func Compress(f File) ([]File, error) {
	switch path.Ext(f.Name) {
	case ".js", ".wasm", ".json":
	default:
		return nil, nil // the page is smaller than what compression adds
	}
	var br, gz bytes.Buffer
	b := brotli.NewWriterLevel(&br, brotli.BestCompression)
	g, err := gzip.NewWriterLevel(&gz, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	for _, w := range []interface {
		Write([]byte) (int, error)
		Close() error
	}{b, g} {
		if _, err := w.Write(f.Content); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	return []File{{f.Name + encodings["br"], br.Bytes()}, {f.Name + encodings["gzip"], gz.Bytes()}}, nil
}
