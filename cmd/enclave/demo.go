package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kms-enclave/kms-enclave/demo"
	"github.com/kms-enclave/kms-enclave/release"
)

const defaultAppAddr = "127.0.0.1:8443"

func runDemo(ctx context.Context, u *ui, args []string) error {
	f := u.flags("demo")
	appAddr := f.String("addr", defaultAppAddr, "")
	enclaveAddr := f.String("enclave-addr", defaultEnclaveAddr, "")
	relayFlags := relayFlags{
		addrs:    f.String("relay-addrs", defaultRelayAddrs, ""),
		data:     f.String("data", "", ""),
		services: f.String("push-services", "", ""),
		ca:       f.String("push-ca", "", ""),
	}
	if err := u.parse(f, args); err != nil {
		return err
	}
	root, err := checkout()
	if err != nil {
		return err
	}
	app, err := listen("--addr", *appAddr, true)
	if err != nil {
		return err
	}
	defer app.close()
	enclave, err := listen("--enclave-addr", *enclaveAddr, false)
	if err != nil {
		return err
	}
	defer enclave.close()
	if app.host == enclave.host {
		return &failure{err: fmt.Errorf("demo: app and enclave would both be on %s, and are two sites in production", app.host), hint: "leave --addr on 127.0.0.1 and --enclave-addr on localhost", usage: true}
	}
	relays, err := startRelays(ctx, u, relayFlags)
	if err != nil {
		return err
	}
	defer relays.close(ctx)
	r, err := buildRelease(ctx, u, described{})
	if err != nil {
		return err
	}
	deployed, err := r.Deploy(release.Deployment{FrameAncestors: []string{app.origin()}})
	if err != nil {
		return withHint(err, "the app's address must be one that browsers can name, such as 127.0.0.1:8443")
	}
	sdk, err := os.OpenRoot(filepath.Join(root, "sdk"))
	if err != nil {
		return withHint(err, "the checkout must be complete")
	}
	defer sdk.Close()
	appSite := demo.Handler(demo.Config{
		EnclaveURL: enclave.origin() + r.Page(), Policy: r.Policy, Wasm: r.Wasm, Measurement: r.Measurement,
		Relays: relays.offered, WithoutRelays: relays.why,
	}, sdk.FS())
	u.print("Open %s/ in a browser. Ctrl-C ends the demo.\n", app.origin())
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		relays.serve(ctx, u)
	}()
	err = serveAll(ctx, site{app, appSite}, site{enclave, release.Handler(deployed)})
	stop()
	<-ended
	return err
}
