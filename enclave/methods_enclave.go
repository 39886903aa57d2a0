package enclave

import (
	"errors"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/keyengine"
)

func enclaveInfo(c *call, _ *api.None) (outcome, error) {
	info := api.Info{
		Version: c.cfg.Release.Version, Commit: c.cfg.Release.Commit, Measurement: c.cfg.Release.Measurement,
		Protocol: api.Version, Algorithms: []string{},
	}
	for _, alg := range c.cfg.Engine.Algorithms(c.ctx) {
		info.Algorithms = append(info.Algorithms, string(alg))
	}
	return outcome{Result: info}, nil
}

func enclaveSelfTest(c *call, _ *api.None) (outcome, error) {
	start := c.cfg.Now()
	result := api.SelfTest{
		OK:   true,
		Wasm: c.cfg.Release.Wasm,
		Loader: api.SelfSaid{
			Version: c.cfg.Release.Version, Commit: c.cfg.Release.Commit, Measurement: c.cfg.Release.Measurement,
		},
	}
	checks := c.cfg.Engine.SelfTest(c.ctx)
	for _, check := range checks {
		t := api.Test{Name: check.Name, OK: check.Err == nil}
		switch {
		case errors.Is(check.Err, keyengine.ErrUnsupported):
			t.Error = "not available here"
		case check.Err != nil:
			t.Error = "wrong answer"
			result.OK = false
		}
		result.Tests = append(result.Tests, t)
	}
	result.OK = result.OK && len(checks) > 0 // nothing tested is nothing shown
	result.Milliseconds = float64(c.cfg.Now().Sub(start).Microseconds()) / 1000
	return outcome{Result: result}, nil
}

func enclaveCancel(c *call, p *api.CancelParams) (outcome, error) {
	return outcome{Result: api.CancelResult{Cancelled: c.cancel(p.ID)}}, nil
}
