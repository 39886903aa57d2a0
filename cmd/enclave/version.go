package main

import (
	"runtime/debug"

	"github.com/kms-enclave/kms-enclave/release"
)

func runVersion(u *ui, args []string) error {
	if err := u.parse(u.flags("version"), args); err != nil {
		return err
	}
	version := "dev"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	u.print("enclave %s; the enclave itself is built with %s\n", version, release.Toolchain)
	return nil
}
