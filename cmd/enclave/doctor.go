package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/doctor"
	"github.com/kms-enclave/kms-enclave/verify"
)

func runDoctor(ctx context.Context, u *ui, args []string) error {
	var o doctor.Options
	f := u.flags("doctor")
	asJSON := f.Bool("json", false, "")
	f.StringVar(&o.Enclave, "enclave", "", "")
	f.DurationVar(&o.Timeout, "timeout", time.Minute, "")
	target, err := u.parseWithTarget(f, args, "the app's URL")
	if err != nil {
		return err
	}
	app, err := url.Parse(target)
	switch {
	case err != nil || app.Host == "" || app.Scheme != "https" && app.Scheme != "http":
		return &failure{err: fmt.Errorf("doctor: got %q, wanted the app's URL", target), hint: "for instance: enclave doctor https://app.example/", usage: true}
	case o.Timeout <= 0:
		return &failure{err: fmt.Errorf("--timeout: got %v, wanted a time such as 30s", o.Timeout), hint: "enclave doctor --help shows the flags", usage: true}
	}
	if o.Enclave != "" {
		if _, err := verify.CheckTarget(o.Enclave); err != nil {
			return &failure{err: fmt.Errorf("--enclave: %w", err), hint: "give the address that connect() gets", usage: true}
		}
	}
	if app.Path == "" {
		app.Path = "/"
	}
	if !*asJSON {
		o.Progress = u.progress
	}
	report := doctor.Examine(ctx, app, o)
	u.done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if *asJSON {
		u.printJSON(report)
	} else {
		u.print("%s", doctorText(report))
	}
	switch bad := report.Count(doctor.Bad); {
	case report.Problem != "":
		return &failure{err: errors.New(report.Problem), hint: "see whether the address is right and the app is up", code: exitUnchecked}
	case bad > 0:
		return withHint(fmt.Errorf("%d of the findings are errors", bad), "each says above what to do")
	}
	return nil
}

func doctorText(r doctor.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "app      %q, %d files read\n", r.App, r.Read)
	if r.Enclave != "" {
		fmt.Fprintf(&b, "enclave  %q\n", r.Enclave)
	}
	for _, grade := range []string{doctor.Bad, doctor.Warning, doctor.Good} {
		for _, f := range r.Findings {
			if f.Grade != grade {
				continue
			}
			fmt.Fprintf(&b, "\n%-8s %s: %s\n", f.Grade, f.Topic, f.What)
			if f.Do != "" {
				fmt.Fprintf(&b, "         %s\n", f.Do)
			}
		}
	}
	if r.Problem != "" {
		return b.String()
	}
	fmt.Fprintf(&b, "\n%d errors, %d warnings.\n", r.Count(doctor.Bad), r.Count(doctor.Warning))
	return b.String()
}
