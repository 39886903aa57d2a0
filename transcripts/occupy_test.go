package transcripts

import (
	"net"

	"github.com/rogpeppe/go-internal/testscript"
)

// occupy listens on a free port until the script ends, and sets PORT to it.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv("PORT", port)
}
