package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"
)

// address is where one origin listens, and what browsers call it.
type address struct {
	listeners []net.Listener
	host      string // "localhost" for a loopback address of both families
	port      int
}

func (a *address) origin() string {
	return "http://" + net.JoinHostPort(a.host, strconv.Itoa(a.port))
}

func (a *address) close() {
	for _, l := range a.listeners {
		l.Close()
	}
}

// attempts bounds the search for a port that is free in both families.
const attempts = 20

// listenBoth listens on 127.0.0.1 and ::1 at the same port, because browsers
// resolve localhost to either. A machine without IPv6 gets one listener.
func listenBoth(port int) (*address, error) {
	var last error
	for range attempts {
		four, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return nil, err
		}
		got := four.Addr().(*net.TCPAddr).Port
		six, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(got)))
		if err == nil {
			return &address{[]net.Listener{four, six}, "localhost", got}, nil
		}
		if noIPv6(err) {
			return &address{[]net.Listener{four}, "localhost", got}, nil
		}
		four.Close()
		if port != 0 {
			return nil, err
		}
		last = err
	}
	return nil, fmt.Errorf("no port is free on both 127.0.0.1 and ::1: %w", last)
}

func noIPv6(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// listen listens where a flag says. Loopback names mean both families; with
// single, the one address that was named (the demo's app is on 127.0.0.1,
// which is another site than localhost).
func listen(flag, hostPort string, single bool) (*address, error) {
	host, portText, err := net.SplitHostPort(hostPort)
	port, portErr := strconv.Atoi(portText)
	if err == nil && portErr == nil && (port < 0 || port > 65535) {
		return nil, &failure{err: fmt.Errorf("%s: got port %d, wanted 0 to 65535", flag, port), hint: "port 0 picks a free one", usage: true}
	}
	if err != nil || portErr != nil {
		return nil, &failure{err: fmt.Errorf("%s: got %q, wanted HOST:PORT", flag, hostPort), hint: "for instance " + flag + " localhost:8444; port 0 picks a free one", usage: true}
	}
	loopback := host == "" || host == "localhost" || host == "127.0.0.1" || host == "::1"
	var a *address
	if loopback && !single {
		a, err = listenBoth(port)
	} else {
		a, err = listenOne(host, port)
	}
	switch {
	case err == nil:
		return a, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, withHint(fmt.Errorf("%s: port %d is in use", flag, port), "end what listens there, or choose another port; 0 picks a free one")
	case errors.Is(err, os.ErrPermission):
		return nil, withHint(fmt.Errorf("%s: port %d is not allowed for this user", flag, port), "choose a port from 1024 on")
	}
	return nil, withHint(fmt.Errorf("%s: %w", flag, err), "the host must be a name or address of this machine")
}

func listenOne(host string, port int) (*address, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return &address{[]net.Listener{l}, host, l.Addr().(*net.TCPAddr).Port}, nil
}

// site is a handler and where it listens.
type site struct {
	address *address
	handler http.Handler
}

// shutdownTime is what requests get to end, once the command is told to stop.
const shutdownTime = 2 * time.Second

// serveAll serves until ctx is done, then stops in good order.
func serveAll(ctx context.Context, sites ...site) error {
	failed := make(chan error, 1)
	var servers []*http.Server
	for _, s := range sites {
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
		servers = append(servers, server)
		for _, l := range s.address.listeners {
			go func() {
				if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
					select {
					case failed <- err:
					default:
					}
				}
			}()
		}
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = withHint(err, "the operating system closed the listener; start again")
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	for _, server := range servers {
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	}
	return err
}
