package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// Serve answers requests on listeners until ctx is done, and then drains and closes: no more requests are
// taken, and those in flight, like attempts at push services, get the configuration's DrainTime to end.
func (r *Relay) Serve(ctx context.Context, listeners ...net.Listener) error {
	server, err := r.httpServer()
	if err != nil {
		return errors.Join(err, r.Close(ctx))
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- r.serve(server, netutil.LimitListener(l, r.config.Limits.Connections)) }()
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	r.log.Info("draining", "seconds", time.Duration(r.config.DrainTime).Seconds())
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(r.config.DrainTime))
	defer cancel()
	r.Drain()
	if server.Shutdown(grace) != nil {
		server.Close()
	}
	return errors.Join(err, r.Close(grace))
}

func (r *Relay) serve(server *http.Server, l net.Listener) error {
	var err error
	if r.config.TLSCertificate != "" { // not TLSConfig: the first Serve of a server sets that
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("the listener: %w", err)
}

// httpServer has a bound for everything that a client may be slow at.
func (r *Relay) httpServer() (*http.Server, error) {
	s := &http.Server{
		Handler: r.Handler(), ReadHeaderTimeout: headTime, ReadTimeout: requestReadTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxRequestHead, ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	if r.config.TLSCertificate == "" {
		return s, nil
	}
	certificate, err := tls.LoadX509KeyPair(r.config.TLSCertificate, r.config.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	return s, nil
}
