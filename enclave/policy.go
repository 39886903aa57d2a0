package enclave

import (
	"reflect"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/prompt"
)

// Auth says what must be true before a method's handler runs.
type Auth string

// The authorisations. See Row for the dialogs that come on top.
const (
	// Open needs no vault.
	Open Auth = "open"
	// Session needs an unlocked vault.
	Session Auth = "session"
	// Leased needs a lease, which the parameters name and the handler looks at, while the vault is
	// unlocked or locked; if they name none, an unlocked vault.
	Leased Auth = "lease"
	// AnyVault needs a vault in whatever state, lost included.
	AnyVault Auth = "any vault"
)

// Row is one line of the policy table: the only way to a handler. What has no
// row does not exist, and a row that asks for a dialog without saying which
// one stops the enclave from being built (see init).
type Row struct {
	Method string
	Auth   Auth

	// Fresh: the user proves presence now, in the enclave's own dialog.
	// Confirm: the dialog shows what is about to happen first.
	// Dialog: the handler asks the user itself.
	Fresh   bool
	Confirm bool
	Dialog  bool

	// Repeatable: doing it twice does no harm, so the SDK may repeat a call
	// whose outcome it does not know.
	Repeatable bool
	// Audited: a leaf of the audit log is committed together with the effect,
	// before the reply.
	Audited bool
	// Logs: the handler commits that leaf itself.
	Logs bool
	// MaxParams bounds the JSON text of the parameters, in bytes.
	MaxParams int

	params reflect.Type
	// lease returns the lease that parameters name, "" for none.
	lease  func(any) string
	decode func(raw []byte) (any, *api.Error)
	// describe says what Fresh and Confirm show. What would fail anyway fails here,
	// before anybody is asked.
	describe func(*call, any) (prompt.Confirm, error)
	handle   func(*call, any) (outcome, error)
}

// small is room for parameters without bulk data: names, ids, short texts.
const small = 8 << 10

// data is room for api.MaxData bytes in base64url, and the members beside them.
const data = api.MaxData*4/3 + small

// Policy is the table. Its order is that of the documentation.
var Policy = []Row{
	on(enclaveInfo, Row{Method: "enclave.info", Auth: Open, Repeatable: true, MaxParams: small}),
	on(enclaveSelfTest, Row{Method: "enclave.selfTest", Auth: Open, Repeatable: true, MaxParams: small}),
	on(enclaveCancel, Row{Method: "enclave.cancel", Auth: Open, Repeatable: true, MaxParams: small}),

	on(vaultStatus, Row{Method: "vault.status", Auth: Open, Repeatable: true, MaxParams: small}),
	on(vaultCreate, Row{Method: "vault.create", Auth: Open, Logs: true, Dialog: true, MaxParams: small}),
	on(vaultUnlock, Row{Method: "vault.unlock", Auth: AnyVault, Logs: true, Dialog: true, MaxParams: small}),
	on(vaultLock, Row{Method: "vault.lock", Auth: AnyVault, Logs: true, Repeatable: true, MaxParams: small}),
	asked(vaultDestroy, describeDestroy, Row{Method: "vault.destroy", Auth: AnyVault, MaxParams: small}),

	asked(slotsAdd, describeAdd, Row{Method: "slots.add", Auth: Session, Logs: true, MaxParams: small}),
	asked(slotsRemove, describeRemove, Row{Method: "slots.remove", Auth: Session, Logs: true, MaxParams: small}),
	asked(slotsChange, describeChange, Row{Method: "slots.change", Auth: Session, Logs: true, MaxParams: small}),
	on(slotsManage, Row{Method: "slots.manage", Auth: Session, Dialog: true, MaxParams: small}),
	asked(recoveryEnable, describeEnable, Row{Method: "recovery.enable", Auth: Session, Logs: true, MaxParams: small}),
	asked(recoveryCheck, describeCheck, Row{Method: "recovery.check", Auth: Session, Logs: true, MaxParams: small}),
	asked(backupSave, describeSave, Row{Method: "backup.save", Auth: Session, Logs: true, MaxParams: small}),
	on(backupRestore, Row{Method: "backup.restore", Auth: Open, Logs: true, Dialog: true, MaxParams: small}),

	on(mirrorChanges, Row{Method: "mirror.changes", Auth: Open, MaxParams: small}),
	on(mirrorRecords, Row{Method: "mirror.records", Auth: Open, Repeatable: true, MaxParams: small}),
	on(mirrorOffer, Row{Method: "mirror.offer", Auth: Open, MaxParams: api.MaxMessage - small}),
	on(mirrorRestore, Row{Method: "mirror.restore", Auth: Open, Logs: true, Dialog: true, MaxParams: small}),

	on(keysCreate, Row{Method: "keys.create", Auth: Session, Audited: true, MaxParams: small}),
	on(keysList, Row{Method: "keys.list", Auth: Session, Repeatable: true, MaxParams: small}),
	on(keysGet, Row{Method: "keys.get", Auth: Session, Repeatable: true, MaxParams: small}),
	asked(keysRotate, describeRotate, Row{Method: "keys.rotate", Auth: Session, Audited: true, MaxParams: small}),
	asked(keysRevoke, describeRevoke, Row{Method: "keys.revoke", Auth: Session, Audited: true, MaxParams: small}),

	on(jwtSign, Row{Method: "jwt.sign", Auth: Session, Repeatable: true, Audited: true, MaxParams: small + api.MaxClaims}),
	on(challengeSign, Row{Method: "challenge.sign", Auth: Session, Repeatable: true, Audited: true, MaxParams: data}),
	on(challengeVerify, Row{Method: "challenge.verify", Auth: Open, Repeatable: true, MaxParams: data}),
	on(keyAgree, Row{Method: "key.agree", Auth: Session, Repeatable: true, Audited: true, MaxParams: small}),
	leased(tokenVAPID, func(p *api.VAPIDParams) string { return p.Lease }, Row{Method: "token.vapid", Repeatable: true, Audited: true, MaxParams: small}),
	leased(tokenRelay, func(p *api.RelayTokenParams) string { return p.Lease }, Row{Method: "token.relay", Repeatable: true, Audited: true, MaxParams: small}),

	asked(leaseGrant, describeGrant, Row{Method: "lease.grant", Auth: Session, Audited: true, MaxParams: small}),
	on(leaseList, Row{Method: "lease.list", Auth: Session, Repeatable: true, MaxParams: small}),
	asked(leaseRenew, describeRenew, Row{Method: "lease.renew", Auth: Session, Audited: true, MaxParams: small}),
	asked(leaseRevoke, describeEnd, Row{Method: "lease.revoke", Auth: Session, Audited: true, MaxParams: small}),

	on(auditHead, Row{Method: "audit.head", Auth: Open, Repeatable: true, MaxParams: small}),
	on(auditConsistent, Row{Method: "audit.consistent", Auth: Open, Repeatable: true, MaxParams: small}),
	on(auditEntries, Row{Method: "audit.entries", Auth: Session, Repeatable: true, MaxParams: small}),
	on(auditVerify, Row{Method: "audit.verify", Auth: Session, Repeatable: true, MaxParams: small}),
	on(auditShow, Row{Method: "audit.show", Auth: Session, Dialog: true, MaxParams: small}),
	on(auditExport, Row{Method: "audit.export", Auth: Session, Repeatable: true, MaxParams: small}),
}

// on ties a handler to its row, and with it the type that requests are decoded into.
func on[P any](handle func(*call, *P) (outcome, error), r Row) Row {
	r.params = reflect.TypeFor[P]()
	r.decode = decoderFor[P]()
	r.handle = func(c *call, params any) (outcome, error) { return handle(c, params.(*P)) }
	return r
}

// leased is on for a row that a lease is enough for.
func leased[P any](handle func(*call, *P) (outcome, error), lease func(*P) string, r Row) Row {
	r.Auth = Leased
	r.lease = func(params any) string { return lease(params.(*P)) }
	return on(handle, r)
}

// asked is on for a row that takes the user's proof and yes before its handler runs.
func asked[P any](handle func(*call, *P) (outcome, error), describe func(*call, *P) (prompt.Confirm, error), r Row) Row {
	r.Fresh, r.Confirm = true, true
	r.describe = func(c *call, params any) (prompt.Confirm, error) { return describe(c, params.(*P)) }
	return on(handle, r)
}

// Asks reports whether the user sees a dialog.
func (r Row) Asks() bool { return r.Fresh || r.Confirm || r.Dialog }

// Params returns the type of the method's parameters.
func (r Row) Params() reflect.Type { return r.params }

var byMethod = map[string]*Row{}

func init() {
	for i := range Policy {
		r := &Policy[i]
		if r.handle == nil || r.MaxParams <= 0 || (r.Fresh || r.Confirm) != (r.describe != nil) || (r.Auth == Leased) != (r.lease != nil) || byMethod[r.Method] != nil {
			panic("enclave: policy row " + r.Method + " is not complete")
		}
		byMethod[r.Method] = r
	}
}
