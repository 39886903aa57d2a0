// Package enclave answers the requests of one app, for one account.
//
// A request is decoded strictly, looked up in the policy table (policy.go, the
// only way to a handler), shown to the user if its row says so, handled, and
// committed together with its audit leaf. Only then is it answered.
//
// This package must not know a browser: everything it touches is in [Config].
package enclave

import (
	"cmp"
	"context"
	"encoding/json/v2"
	"errors"
	"sync"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/internal/deadline"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

// machineTime bounds what a call may take, waiting for others included: once
// before its dialog, if it has one, and once after it.
const machineTime = 30 * time.Second

// dialogTime is the same for what is done between two screens of a dialog, where a
// whole vault may be wrapped anew while the user sees that something is being done.
const dialogTime = 3 * time.Minute

// logTime is the same for reading the whole log, which may have a million entries. An app waits so long
// only if it says so (timeoutMs), and can call it off.
const logTime = 10 * time.Minute

// Causes of an ended call.
var (
	errCancelled = errors.New("enclave: called off")
	errTimeout   = errors.New("enclave: out of time")
	errClosed    = errors.New("enclave: closed")
	errDefect    = errors.New("enclave: defect")
)

// Enclave serves one connection.
type Enclave struct {
	cfg       Config
	vaults    *vault.Manager
	refusals  refusals
	ctx       context.Context
	stop      context.CancelCauseFunc
	running   sync.WaitGroup
	deadlines deadline.Group
	crew      *crew[incoming]

	idle idle

	mu      sync.Mutex
	pending map[int64]context.CancelCauseFunc
}

// New returns an enclave that serves. It starts to open the vault at once, so
// that the first call does not wait for it, and reports what it finds with an
// event: unlocked, or an alert if the vault is lost.
func New(ctx context.Context, cfg Config) *Enclave {
	e := &Enclave{cfg: cfg, pending: map[int64]context.CancelCauseFunc{}}
	e.ctx, e.stop = context.WithCancelCause(ctx)
	e.vaults = vault.NewManager(vault.ManagerConfig{
		Engine: cfg.Engine, Rand: cfg.Rand, Now: cfg.Now,
		Device: cfg.Device, Session: cfg.Session,
		ID: vault.ID(cfg.Origin, cfg.Account), Share: cfg.Share, Marker: cfg.Marker,
	})
	e.refusals.init(e)
	e.idle.lock, e.idle.now = e.lockIdle, cfg.Now
	e.crew = newCrew(e.receive)
	e.crew.start(e.ctx)
	e.running.Go(e.announce)
	return e
}

func (e *Enclave) announce() {
	ctx, cancel := e.deadlines.WithTimeout(e.ctx, machineTime, errTimeout)
	defer cancel()
	v, err := e.vaults.Current(ctx)
	switch {
	case err == nil && v.Locked():
		e.notify("locked", lockedEvent{State: vault.Locked, Reason: "start"})
	case err == nil:
		e.notify("unlocked", nil)
	case errors.Is(err, vault.ErrAbsent) || e.ctx.Err() != nil:
	default:
		e.notify("alert", toError(err))
	}
}

// Close calls off what is pending and drops every handle. A session vault is
// gone afterwards.
func (e *Enclave) Close() {
	e.stop(errClosed)
	e.idle.stop()
	e.crew.running.Wait()
	e.running.Wait()
	e.refusals.last()
	e.vaults.Close()
}

// Handle serves one request, given as JSON text. It returns at once, and calls
// reply exactly once, from another goroutine, with at most api.MaxMessage bytes.
// Requests are admitted in the order in which Handle is called.
func (e *Enclave) Handle(request []byte, reply func([]byte)) {
	e.crew.put(incoming{request, reply})
}

type incoming struct {
	text  []byte
	reply func([]byte)
}

// receive admits a request. What it returns serves it.
func (e *Enclave) receive(in incoming) func() {
	r, failure := decodeRequest(in.text)
	if failure != nil {
		in.reply(encodeReply(api.Reply{ID: r.ID, Error: failure}))
		return nil
	}
	ctx, cancel, failure := e.admit(r.ID)
	if failure != nil {
		in.reply(encodeReply(api.Reply{ID: r.ID, Error: failure}))
		return nil
	}
	return func() {
		answer := e.serve(ctx, r)
		e.release(r.ID)
		cancel(nil)
		in.reply(answer)
	}
}

// admit takes a request in, unless too many are pending.
func (e *Enclave) admit(id int64) (context.Context, context.CancelCauseFunc, *api.Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return nil, nil, errorf(api.Interrupted, "the enclave is closing")
	}
	if e.pending[id] != nil {
		return nil, nil, invalid("/id", "the id of a pending request; use another one")
	}
	if len(e.pending) >= api.MaxPending {
		return nil, nil, errorf(api.Busy, "%d requests are pending; wait for a reply, then try again", api.MaxPending)
	}
	ctx, cancel := context.WithCancelCause(e.ctx)
	e.pending[id] = cancel
	return ctx, cancel, nil
}

func (e *Enclave) release(id int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pending, id)
}

// cancel calls a pending request off.
func (e *Enclave) cancel(id int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	cancel := e.pending[id]
	if cancel != nil {
		cancel(errCancelled)
	}
	return cancel != nil
}

// call is one request on its way.
type call struct {
	*Enclave
	ctx   context.Context // of what machines do now
	id    int64
	row   *Row
	vault *vault.Vault // if the row's Auth is Session or Leased, or a handler has opened it
	lease string       // that the call is made under, if any

	whole  context.Context // of the call as a whole
	bounds func()          // ends ctx
	dialog prompt.Dialog   // nil until the user is asked
	way    *vault.Way      // with which the user has proved to be there, if the vault has a lock or a device slot
	tries  int             // wrong passphrases, in this dialog
	untold int             // wrong secrets that are not in the log yet
	anchor []byte          // of the vault that the user was asked about
}

// outcome is what a handler decided. For an audited row, Apply and the leaf
// land in one commit before Result is sent. Result may be a pointer to what
// Pending completes; Finish, if there is one, gives it after the commit.
type outcome struct {
	Result  any
	Finish  func() (any, error)
	KID     string
	Lease   string // that it is about
	Details map[string]string
	Apply   func(*ledger.Tx) error
	Pending *pending
}

// serve returns the reply to a request.
func (e *Enclave) serve(ctx context.Context, r api.Request) (answer []byte) {
	fail := func(failure *api.Error) []byte { return encodeReply(api.Reply{ID: r.ID, Error: failure}) }
	defer func() {
		if p := recover(); p != nil {
			// What a defect says may contain anything, so it is not passed on.
			answer = fail(errorf(api.Internal, "the enclave has a defect in %s"+unknown, r.Method))
		}
	}()
	row := byMethod[r.Method]
	if row == nil {
		return fail(errorf(api.UnknownMethod, "this release has no method of that name; enclave.info tells its version"))
	}
	if len(r.Params) > row.MaxParams {
		return fail(invalid("/params", "%d bytes, at most %d allowed for %s", len(r.Params), row.MaxParams, row.Method))
	}
	params, failure := row.decode(r.Params)
	if failure != nil {
		return fail(failure)
	}
	c := &call{Enclave: e, whole: ctx, id: r.ID, row: row, bounds: func() {}}
	defer func() { c.closeDialog(errDefect) }() // a panic must not leave it open
	answer, err := c.dispatch(params)
	c.closeDialog(err)
	if err != nil {
		failure := toError(err)
		e.refusals.note(row, failure.Code, c.lease)
		return fail(failure)
	}
	return answer
}

// dispatch authorises, asks, handles and commits.
func (c *call) dispatch(params any) ([]byte, error) {
	c.bound(machineTime)
	defer func() { c.bounds() }()
	if err := c.authorise(params); err != nil {
		return nil, err
	}
	if c.row.describe != nil {
		if err := c.confirm(params); err != nil {
			return nil, err
		}
	}
	out, err := c.row.handle(c, params)
	var answer []byte
	switch {
	case err != nil:
	case c.row.Audited:
		answer, err = c.commit(out)
	default:
		answer = c.encode(out)
	}
	if ledger.IsOver(err) && c.vault != nil {
		c.vaults.Forget(c.ctx, c.vault)
	}
	return answer, err
}

// bound gives the call machine time, from now on.
func (c *call) bound(most time.Duration) {
	c.ctx, c.bounds = c.deadlines.WithTimeout(c.whole, most, errTimeout)
}

func (c *call) authorise(params any) (err error) {
	if c.row.Auth != Open && c.idle.over(c.cfg.Now()) {
		c.lockIdle()
	}
	switch c.row.Auth {
	case Open:
		return nil
	case Session:
		return c.authoriseSession()
	case Leased:
		if c.lease = c.row.lease(params); c.lease == "" {
			return c.authoriseSession()
		}
		c.vault, err = c.vaults.Current(c.ctx)
		return err
	case AnyVault:
		report, err := c.vaults.Report(c.ctx)
		if err == nil && report.State == vault.Absent {
			return vault.ErrAbsent
		}
		if _, damaged := errors.AsType[*ledger.IntegrityError](err); damaged || errors.Is(err, store.ErrHandleLost) {
			return nil // a damaged vault is one, too
		}
		return err
	}
	return errorf(api.Denied, "no rule allows it")
}

func (c *call) authoriseSession() (err error) {
	if c.vault, err = c.vaults.Current(c.ctx); err != nil {
		return err
	}
	if c.vault.Locked() {
		return vault.ErrLocked
	}
	c.idle.touch(c.cfg.Now())
	return nil
}

func (c *call) encode(out outcome) []byte {
	return encodeReply(api.Reply{ID: c.id, Result: out.Result})
}

// commit returns the reply once effect and leaf are durable. It is encoded while
// they are being written, when there is nothing else to do.
func (c *call) commit(out outcome) (answer []byte, err error) {
	// What the user has confirmed is not held up by what an app has used up.
	op := ledger.Op{Apply: out.Apply, Reserved: c.row.Fresh, Urgent: c.row.Fresh, Entry: audit.Entry{
		Method: c.row.Method, KID: out.KID, Lease: cmp.Or(c.lease, out.Lease), Origin: c.cfg.Origin, Outcome: "ok", Details: out.Details,
	}}
	if out.Pending != nil {
		defer out.Pending.drop()
		op.Ready = out.Pending.wait
	}
	s := c.vault.Ledger.Start(c.ctx, op)
	if op.Ready != nil && out.Finish == nil && s.AwaitReady() {
		answer = c.encode(out)
	}
	if err := s.Wait(); err != nil {
		return nil, err
	}
	if out.Finish != nil {
		if out.Result, err = out.Finish(); err != nil {
			return nil, err
		}
	}
	if answer == nil {
		answer = c.encode(out)
	}
	return answer, nil
}

func (e *Enclave) notify(event string, data any) {
	text, err := json.Marshal(api.Event{Event: event, Data: data}, json.Deterministic(true))
	if err == nil {
		e.cfg.Notify(text)
	}
}
