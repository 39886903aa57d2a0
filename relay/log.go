package relay

import (
	"io"
	"log/slog"
)

// NewLog returns the log of a format, text or json. Both escape what they are given.
func NewLog(w io.Writer, format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// short names a subscription in a log: enough to find it by, too little to address it.
func short(k subscriptionKey) string {
	return k.kid[:min(8, len(k.kid))] + "/" + k.id[:min(8, len(k.id))]
}
