package enclave

import (
	"context"
	"reflect"

	"github.com/kms-enclave/kms-enclave/api"
)

// Auth says what must be true before a method's handler runs.
type Auth string

// The authorisations. See Row for the dialogs that come on top.
const (
	// Open needs no vault.
	Open Auth = "open"
	// Session needs an unlocked vault.
	Session Auth = "session"
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
	Fresh   bool
	Confirm bool

	// Repeatable: doing it twice does no harm, so the SDK may repeat a call
	// whose outcome it does not know.
	Repeatable bool
	// Audited: a leaf of the audit log is committed together with the effect,
	// before the reply.
	Audited bool
	// MaxParams bounds the JSON text of the parameters, in bytes.
	MaxParams int

	params reflect.Type
	decode func(raw []byte) (any, *api.Error)
	ask    func(*call) (show func(context.Context) error, err error) // the dialog of Fresh and Confirm
	handle func(*call, any) (outcome, error)
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
	on(vaultCreate, Row{Method: "vault.create", Auth: Open, MaxParams: small}),
	on(vaultDestroy, Row{Method: "vault.destroy", Auth: AnyVault, Fresh: true, Confirm: true, MaxParams: small, ask: askDestroy}),

	on(keysCreate, Row{Method: "keys.create", Auth: Session, Audited: true, MaxParams: small}),
	on(keysList, Row{Method: "keys.list", Auth: Session, Repeatable: true, MaxParams: small}),
	on(keysGet, Row{Method: "keys.get", Auth: Session, Repeatable: true, MaxParams: small}),

	on(jwtSign, Row{Method: "jwt.sign", Auth: Session, Repeatable: true, Audited: true, MaxParams: small + api.MaxClaims}),
	on(challengeSign, Row{Method: "challenge.sign", Auth: Session, Repeatable: true, Audited: true, MaxParams: data}),
	on(challengeVerify, Row{Method: "challenge.verify", Auth: Open, Repeatable: true, MaxParams: data}),
	on(keyAgree, Row{Method: "key.agree", Auth: Session, Repeatable: true, Audited: true, MaxParams: small}),
	on(tokenVAPID, Row{Method: "token.vapid", Auth: Session, Repeatable: true, Audited: true, MaxParams: small}),

	on(auditHead, Row{Method: "audit.head", Auth: Open, Repeatable: true, MaxParams: small}),
	on(auditEntries, Row{Method: "audit.entries", Auth: Session, Repeatable: true, MaxParams: small}),
	on(auditVerify, Row{Method: "audit.verify", Auth: Session, Repeatable: true, MaxParams: small}),
	on(auditExport, Row{Method: "audit.export", Auth: Session, Repeatable: true, MaxParams: small}),
}

// on ties a handler to its row, and with it the type that requests are decoded into.
func on[P any](handle func(*call, *P) (outcome, error), r Row) Row {
	r.params = reflect.TypeFor[P]()
	r.decode = decoderFor[P]()
	r.handle = func(c *call, params any) (outcome, error) { return handle(c, params.(*P)) }
	return r
}

// Params returns the type of the method's parameters.
func (r Row) Params() reflect.Type { return r.params }

var byMethod = map[string]*Row{}

func init() {
	for i := range Policy {
		r := &Policy[i]
		if r.handle == nil || r.MaxParams <= 0 || (r.Fresh || r.Confirm) != (r.ask != nil) || byMethod[r.Method] != nil {
			panic("enclave: policy row " + r.Method + " is not complete")
		}
		byMethod[r.Method] = r
	}
}
