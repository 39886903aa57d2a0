package audit

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// FileHeader is the first line of an export file of the version that this
// package writes and reads.
const FileHeader = fileMagic + "1"

const (
	fileMagic     = "kms-enclave/audit-file/v"
	hashLength    = 44 // base64 of a hash
	maxLine       = hashLength + 1 + MaxEntry + 1
	maxSignatures = 16 // lines in the header: the log's own and those of witnesses
	signatureMark = "— "
)

// What can be wrong with a file. What can be wrong with its entries is said by
// [*EntryError], ErrRoot and ErrEmpty; with its header by ErrKey, ErrCheckpoint
// and ErrSignature too.
var (
	ErrLineEnds  = errors.New("audit: lines end in CR LF, LF alone wanted")
	ErrFormat    = errors.New("audit: not an audit file")
	ErrVersion   = errors.New("audit: a file of a newer version")
	ErrTruncated = errors.New("audit: the file ends too early")
	ErrTrailing  = errors.New("audit: something follows the last entry")
	ErrOtherKey  = errors.New("audit: the file is of another log than the one asked for")
)

// AppendHeader appends the part of an export file that comes before the entries.
func AppendHeader(b []byte, verifierKey, checkpoint string) ([]byte, error) {
	name, err := parseVerifierKey(verifierKey)
	if err != nil {
		return nil, err
	}
	c, err := parseSigned(checkpoint)
	if err != nil || c.Origin != name || !strings.HasSuffix(checkpoint, "\n") {
		return nil, ErrCheckpoint
	}
	b = append(b, FileHeader+"\n"...)
	b = append(b, verifierKey+"\n"...)
	b = append(b, checkpoint...)
	return append(b, '\n'), nil
}

// AppendEntries appends the lines of consecutive canonical entries. Pages put
// one after the other, from entry 0 on, make the rest of the file.
func AppendEntries(b []byte, entries [][]byte) ([]byte, error) {
	for _, e := range entries {
		if len(e) == 0 || len(e) > MaxEntry || bytes.IndexByte(e, '\n') >= 0 {
			return nil, ErrNotCanonical
		}
		leaf := LeafHash(e)
		b = base64.StdEncoding.AppendEncode(b, leaf[:])
		b = append(b, ' ')
		b = append(b, e...)
		b = append(b, '\n')
	}
	return b, nil
}

// Report says what a file holds, as far as it has been read.
type Report struct {
	Key        string     // verifier key in the file; what it is worth is for the reader to know
	Checkpoint Checkpoint // of the header; its signature verifies
	Checked    uint64     // entries found good, from 0 on
	First      int64      // time of the first of these, seconds
	Last       int64      // time of the last of these, seconds
}

// VerifyFile reads an export file to its end and checks everything in it. The
// signature proves that the log is the one of the key in the file; whose key
// that is, only somebody who has seen it before can tell: see [VerifyFileOf].
//
// The report is valid as far as it goes, even if there is an error.
func VerifyFile(r io.Reader) (Report, error) { return VerifyFileOf(r, "") }

// VerifyFileOf is VerifyFile for a file that must be of the log with this
// verifier key; an empty key stands for any. The log must have had the heads
// that were kept, at their sizes: nothing else shows that entries at its end
// were taken back and replaced by its owner's browser.
func VerifyFileOf(r io.Reader, key string, kept ...Head) (Report, error) {
	f := fileReader{r: bufio.NewReaderSize(r, maxLine)}
	var report Report
	if err := f.readHeader(&report, key); err != nil {
		return report, err
	}
	if err := checkHeads(kept, report.Key); err != nil {
		return report, err
	}
	c := checker{size: report.Checkpoint.Size, heads: ascending(kept)}
	err := f.readEntries(&c)
	report.Checked, report.First, report.Last = c.frontier.Size(), c.first, c.last
	if err == nil {
		err = c.finish(report.Checkpoint.Root)
	}
	return report, err
}

type fileReader struct{ r *bufio.Reader }

var errLongLine = errors.New("line too long")

// line returns the next line without its end, valid until the next call. A file
// that does not end in one is truncated.
func (f *fileReader) line() ([]byte, error) {
	line, err := f.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errLongLine
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, ErrTruncated
	case err != nil:
		return nil, err
	}
	return line[:len(line)-1], nil
}

// headerLine is line for a part of the file that must be there.
func (f *fileReader) headerLine(otherwise error) (string, error) {
	line, err := f.line()
	switch {
	case errors.Is(err, io.EOF):
		return "", ErrTruncated
	case errors.Is(err, errLongLine):
		return "", otherwise
	}
	return string(line), err
}

func (f *fileReader) readHeader(report *Report, key string) error {
	if err := f.readVersion(); err != nil {
		return err
	}
	found, err := f.headerLine(ErrKey)
	if err != nil {
		return err
	}
	if _, err := parseVerifierKey(found); err != nil {
		return err
	}
	report.Key = found
	if key != "" && key != found {
		return ErrOtherKey
	}
	signed, err := f.readSigned()
	if err != nil {
		return err
	}
	report.Checkpoint, err = OpenCheckpoint(signed, found)
	return err
}

func (f *fileReader) readVersion() error {
	line, err := f.headerLine(ErrFormat)
	if err != nil && !errors.Is(err, ErrTruncated) {
		return err
	}
	version, ours := strings.CutPrefix(line, fileMagic)
	n, notNumber := strconv.ParseUint(version, 10, 32)
	switch {
	case ours && strings.HasSuffix(version, "\r"):
		return ErrLineEnds
	case err != nil || !ours || notNumber != nil || strconv.FormatUint(n, 10) != version || n == 0:
		return ErrFormat
	case n > 1:
		return fmt.Errorf("%w: version %d, at most 1 is known", ErrVersion, n)
	}
	return nil
}

// readSigned reads a signed note and the blank line after it.
func (f *fileReader) readSigned() (string, error) {
	var signed strings.Builder
	for n := range 4 + maxSignatures + 1 {
		line, err := f.headerLine(ErrCheckpoint)
		if err != nil {
			return "", err
		}
		// Lines 0 to 2 are the text, 3 is blank, then come the signatures.
		if n > 4 && line == "" {
			return signed.String(), nil
		}
		if (line == "") != (n == 3) || strings.HasPrefix(line, signatureMark) != (n > 3) {
			return "", ErrCheckpoint
		}
		signed.WriteString(line + "\n")
	}
	return "", ErrCheckpoint
}

func (f *fileReader) readEntries(c *checker) error {
	for {
		seq := c.frontier.Size()
		line, err := f.line()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = c.addLine(line)
		}
		switch {
		case err == nil:
		case seq < c.size && (errors.Is(err, ErrTruncated) || errors.Is(err, errLongLine)):
			return &EntryError{seq, err}
		case seq < c.size || errors.Is(err, ErrExtra):
			return err
		default: // not an entry
			return ErrTrailing
		}
	}
}

// addLine checks one line. An entry that was changed alone no longer has the
// hash beside it; a hash that was changed with it changes the head.
func (c *checker) addLine(line []byte) error {
	seq := c.frontier.Size()
	if len(line) <= hashLength || line[hashLength] != ' ' {
		return &EntryError{seq, ErrNotCanonical}
	}
	recorded, entry := string(line[:hashLength]), line[hashLength+1:]
	leaf := LeafHash(entry)
	if err := c.add(entry, leaf); err != nil {
		return err
	}
	if recorded != tlog.Hash(leaf).String() {
		return &EntryError{seq, ErrLeafHash}
	}
	return c.reached()
}
