// Command enclave builds, serves and checks Browser KMS Enclaves.
//
// Every rule about how it speaks is in ui.go. Exit codes: 0 done, or ended by a
// signal; 1 it failed; 2 it was called wrongly.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole command, for main and for tests.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	u := newUI(stdout, stderr)
	name, rest := "help", []string(nil)
	if len(args) > 0 {
		name, rest = args[0], args[1:]
	}
	switch name {
	case "build":
		return u.exit(ctx, runBuild(ctx, u, rest))
	case "serve":
		return u.exit(ctx, runServe(ctx, u, rest))
	case "demo":
		return u.exit(ctx, runDemo(ctx, u, rest))
	case "withdraw":
		return u.exit(ctx, runWithdraw(u, rest))
	case "verify":
		return u.exit(ctx, runVerify(ctx, u, rest))
	case "doctor":
		return u.exit(ctx, runDoctor(ctx, u, rest))
	case "relay":
		return u.exit(ctx, runRelay(ctx, u, rest))
	case "audit":
		return runAudit(rest, stdin, stdout, stderr)
	case "version", "--version", "-version":
		return u.exit(ctx, runVersion(u, rest))
	case "help", "--help", "-help", "-h":
		return u.exit(ctx, runHelp(u, rest))
	}
	return u.exit(ctx, usageErrorf("command: got %q, wanted demo, serve, build, withdraw, verify, doctor, relay, audit, version or help", name))
}
