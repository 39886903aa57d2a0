package enclave

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/backup"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/lease"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

// errorf makes an API error. The message must say what to do, and must not
// contain a secret or a value that the platform chose.
func errorf(code api.Code, format string, args ...any) *api.Error {
	return &api.Error{Code: code, Message: fmt.Sprintf(format, args...), Retryable: code.Retryable()}
}

// unknown ends the message of an error that leaves open what has become of the
// call. docs/protocol.md says which codes do.
const unknown = "; it may have happened: look before you repeat it"

// words says for each error of the inner packages what an app is told. The
// first that matches counts.
var words = []struct {
	err     error
	code    api.Code
	message string
}{
	{errCancelled, api.Cancelled, "the app called it off" + unknown},
	{errTimeout, api.Timeout, "the browser did not answer in time" + unknown},
	{ledger.ErrTimeout, api.Timeout, "storage did not answer in time" + unknown},
	{errClosed, api.Interrupted, "the enclave is closing" + unknown},
	{ledger.ErrClosed, api.Interrupted, "the vault was closed meanwhile" + unknown},
	{vault.ErrChanged, api.Interrupted, "it was done, but the vault did not open again; look at vault.status"},
	{prompt.ErrCancelled, api.Cancelled, "the user said no"},
	{prompt.ErrExpired, api.Expired, "nobody answered the dialog; ask again when the user is there"},
	{prompt.ErrBusy, api.Denied, "another dialog of this vault is open; wait for its answer"},
	{prompt.ErrBackoff, api.Denied, "two dialogs ended without a yes; wait before asking again"},
	{prompt.ErrAnswer, api.Internal, "the enclave's dialog has a defect" + unknown},
	{vault.ErrLocked, api.Locked, "the vault is locked; vault.unlock asks the user to open it"},
	{vault.ErrNoLock, api.Unsupported, "a vault with lock \"none\" is open whenever it exists; slots.manage lets the user protect it"},
	{vault.ErrWrongSecret, api.Denied, "the secret does not open the vault"},
	{vault.ErrNoSlot, api.NotFound, "there is no way in with this id; vault.status lists them"},
	{vault.ErrLastSlot, api.Denied, "the last way in cannot be removed; add another one first"},
	{vault.ErrSlotExists, api.Exists, "there is such a way in already; slots.change replaces a passphrase"},
	{vault.ErrManySlots, api.QuotaExceeded, "the vault has " + strconv.Itoa(vault.MaxSlots) + " ways in, and no more fit; remove one first"},
	{vault.ErrNoPhrase, api.NotFound, "the vault has no recovery phrase; recovery.enable makes one"},
	{vault.ErrRevoked, api.Denied, "the key is revoked already"},
	{backup.ErrTooLarge, api.QuotaExceeded, "the backup would be larger than one file may be (" + strconv.Itoa(backup.MaxSize>>20) + " MiB); nothing was saved"},
	{vault.ErrContents, api.Integrity, "the backup file is authentic, but this release cannot use what it holds; nothing was written"},
	{vault.ErrNoMirror, api.NotFound, "the vault has no mirror: it ends with its tab, or nothing that a person has would open one"},
	{vault.ErrNothingOffered, api.NotFound, "no mirror was handed in; mirror.offer takes it"},
	{vault.ErrMirrorLarge, api.QuotaExceeded, "the mirror is larger than one may be (" + strconv.Itoa(vault.MaxMirror>>20) + " MiB); it was dropped"},
	{vault.ErrNotMirrored, api.InvalidRequest, "a record of a kind that mirror.records does not give; the mirror is not complete"},
	{errOtherVault, api.Integrity, "this is a mirror of another vault than the one that this app has seen here; nothing was written"},
	{vault.ErrAbsent, api.NotFound, "there is no vault; vault.create makes one, backup.restore brings one back"},
	{vault.ErrExists, api.Exists, "there is a vault already; vault.destroy removes it"},
	{vault.ErrNoKey, api.NotFound, "there is no key with this kid; keys.list tells which there are"},
	{vault.ErrInactive, api.Denied, "the key is retired or revoked and signs no more; use an active one"},
	{vault.ErrUnusable, api.Unsupported, "this browser cannot use this key, which was made elsewhere and is not damaged; use it in another browser, or replace it (keys.rotate)"},
	{vault.ErrKeyExists, api.Exists, "a key with this kid exists already"},
	{vault.ErrManyKeys, api.QuotaExceeded, "the vault is full; no more keys fit than it holds now"},
	{lease.ErrTerms, api.InvalidRequest, "member /params/relay: another origin than the push service's wanted"},
	{lease.ErrNone, api.NotFound, "there is no lease with this id; lease.list tells which there are"},
	{lease.ErrExpired, api.Denied, "the lease has expired; lease.grant asks the user for another one"},
	{lease.ErrEnded, api.Denied, "the lease was ended: the user revoked it, or its key ended; lease.list tells"},
	{lease.ErrPlace, api.Denied, "the lease is for another push service; lease.list tells for which"},
	{lease.ErrLong, api.Denied, "the token would live longer than the lease allows, or than the lease; lease.list tells how long it may"},
	{lease.ErrQuota, api.QuotaExceeded, "the vault's leases gave as many tokens within the hour or the day as this one allows; use those until they expire"},
	{lease.ErrFull, api.QuotaExceeded, strconv.Itoa(lease.MaxLeases) + " leases run, and no more fit; revoke one first"},
	{lease.ErrKey, api.Denied, "this key has served another relay, or this relay has a lease of another key; every relay takes a key of its own"},
	{lease.ErrExists, api.Exists, "this relay has a lease of this key already; lease.renew makes it longer"},
	{vault.ErrNoLeases, api.Unsupported, "a vault with persistence \"session\" ends with its tab and gives no leases"},
	{ledger.ErrQuota, api.QuotaExceeded, "too many operations on this vault; the allowance refills by ten a second"},
	{ledger.ErrGone, api.NotFound, "the vault is gone; it was destroyed in another tab, or its storage was cleared"},
	{ledger.ErrReplaced, api.Conflict, "the vault was changed in another tab, nothing was done; try again"},
	{store.ErrConflict, api.Conflict, "another tab was faster, nothing was done; try again"},
	{store.ErrFull, api.StorageFull, "the browser's storage is full, nothing was done; free some space for this site"},
	{store.ErrNewer, api.Unsupported, "a newer release has used this storage; it was not touched. Use the newer release"},
	{store.ErrHandleLost, api.StorageUnavailable, "this browser does not keep key handles; use a vault with persistence \"session\""},
	{store.ErrUnavailable, api.StorageUnavailable, "the browser refuses to store (private window, blocked third-party storage, or cleared while in use); allow it or use persistence \"session\""},
	{keyengine.ErrUnsupported, api.Unsupported, "this browser cannot do it: it lacks the algorithm (enclave.info tells which it has), or the data is too long for it"},
	{keyengine.ErrPublicKey, api.InvalidRequest, "member /params/publicKey: not a valid public key, or one of small order"},
	{context.DeadlineExceeded, api.Timeout, "it took too long" + unknown},
	{context.Canceled, api.Interrupted, "the enclave is closing" + unknown},
}

// toError turns any error into what the app is told about it.
func toError(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*ledger.IntegrityError](err); ok {
		return errorf(api.Integrity, "%s; nothing was touched. Other keys may still work; a backup can be restored once the vault is destroyed", e.Error())
	}
	if e, ok := errors.AsType[*vault.LostError](err); ok {
		return lostError(e)
	}
	for _, w := range words {
		if errors.Is(err, w.err) {
			e := errorf(w.code, "%s", w.message)
			e.Details = details[w.err]
			return e
		}
	}
	return errorf(api.Internal, "the enclave met an error that it has no name for"+unknown)
}

// details tell an app apart what has one code, or name the member.
var details = map[error]map[string]string{
	keyengine.ErrPublicKey: {"member": "/params/publicKey"},
	prompt.ErrBusy:         {"reason": "dialog-open"},
	prompt.ErrBackoff:      {"reason": "asked-too-soon"},
	lease.ErrTerms:         {"member": "/params/relay"},
	lease.ErrExpired:       {"reason": "lease-expired"},
	lease.ErrEnded:         {"reason": "lease-ended"},
	lease.ErrPlace:         {"reason": "another-service"},
	lease.ErrLong:          {"reason": "too-long"},
	lease.ErrKey:           {"reason": "another-relay"},
}

func lostError(lost *vault.LostError) *api.Error {
	message := "the vault is lost: the app remembers one, but the enclave's storage is empty; mirror.restore brings it back from what the app keeps, backup.restore from a file, or vault.destroy clears what is left"
	if lost.Reason == vault.LostShare {
		message = "the vault is lost: the share that opens it is missing in the app; with the share it opens. vault.destroy deletes it, then backup.restore can bring it back from a file"
	}
	e := errorf(api.NotFound, "%s", message)
	e.Details = map[string]string{"state": vault.Lost, "reason": lost.Reason}
	return e
}
