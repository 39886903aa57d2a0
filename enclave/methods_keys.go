package enclave

import (
	"cmp"
	"errors"
	"slices"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/ledger"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

func keysCreate(c *call, p *api.CreateKeyParams) (outcome, error) {
	purpose := vault.Purpose(p.Purpose)
	alg, err := purpose.Algorithm(keyengine.Alg(p.Alg))
	if err != nil {
		return outcome{}, invalid("/params/alg", "%s", err.Error())
	}
	if !slices.Contains(c.cfg.Engine.Algorithms(c.ctx), alg) {
		return outcome{}, keyengine.ErrUnsupported
	}
	key, apply, err := c.vault.NewKey(c.ctx, purpose, alg, p.Label, api.MaxKeys)
	if err != nil {
		return outcome{}, err
	}
	shown, err := show(key)
	return outcome{
		Result: api.KeyResult{Key: shown}, KID: key.KID, Apply: apply,
		Details: map[string]string{"purpose": p.Purpose, "alg": string(alg)},
	}, err
}

func keysGet(c *call, p *api.KeyParams) (outcome, error) {
	key, err := c.vault.Key(c.ctx, p.KID)
	if err != nil {
		return outcome{}, err
	}
	shown, err := show(key)
	return outcome{Result: api.KeyResult{Key: shown}}, err
}

func keysList(c *call, p *api.ListKeysParams) (outcome, error) {
	limit := p.Limit
	if limit == 0 {
		limit = 100
	}
	var keys []*vault.Key
	var more bool
	err := c.vault.Ledger.Read(c.ctx, func(tx *ledger.Tx) (err error) {
		keys, more, err = vault.ListKeys(tx, p.After, limit)
		return err
	})
	if err != nil {
		return outcome{}, err
	}
	list := api.KeyList{Keys: make([]api.Key, len(keys))}
	for i, k := range keys {
		if list.Keys[i], err = show(k); err != nil {
			return outcome{}, err
		}
	}
	if more {
		list.Next = keys[len(keys)-1].KID
	}
	return outcome{Result: list}, nil
}

// show is the only way a key leaves: its public half and its metadata.
func show(k *vault.Key) (api.Key, error) {
	jwk, err := vault.NewJWK(k.Alg, k.Public)
	if err != nil {
		return api.Key{}, &ledger.IntegrityError{What: "key record " + k.KID}
	}
	return api.Key{
		KID: k.KID, Alg: string(k.Alg), Purpose: string(k.Purpose), Label: k.Label,
		CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsedAt, Uses: k.Uses, State: string(k.State),
		PublicKey:   api.PublicKey{JWK: api.JWK(jwk), Raw: k.Public},
		Predecessor: k.Predecessor, Successor: k.Successor, EndedAt: k.EndedAt, Reason: k.Reason,
	}, nil
}

// describeKey shows a key that is about to end, which cannot be undone.
func (c *call) describeKey(kid string, wanted func(vault.State) error) (prompt.Confirm, error) {
	k, err := c.vault.Key(c.ctx, kid)
	if err == nil {
		err = wanted(k.State)
	}
	if err != nil {
		return prompt.Confirm{}, err
	}
	return prompt.Confirm{Word: prompt.Word, Key: &prompt.KeyFact{
		KID: k.KID, Label: k.Label, Purpose: string(k.Purpose), CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsedAt, Uses: k.Uses,
	}}, nil
}

// rotations is how many keys can be replaced in a vault that an app has filled. Only
// the user can make use of it.
const rotations = 1000

func describeRotate(c *call, p *api.KeyParams) (prompt.Confirm, error) {
	if report, err := c.vaults.Report(c.ctx); err != nil || report.Keys >= api.MaxKeys+rotations {
		return prompt.Confirm{}, cmp.Or(err, vault.ErrManyKeys)
	}
	return c.describeKey(p.KID, func(s vault.State) error {
		if s != vault.Active {
			return vault.ErrInactive
		}
		return nil
	})
}

func keysRotate(c *call, p *api.KeyParams) (outcome, error) {
	key, retired, apply, err := c.vault.Rotate(c.ctx, p.KID, api.MaxKeys+rotations)
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		KID: p.KID, Apply: apply, Details: map[string]string{"successor": key.KID},
		Finish: func() (any, error) {
			c.vault.Drop(p.KID)
			shown, err := show(key)
			old, err2 := show(retired)
			return api.Rotated{Key: shown, Retired: old}, errors.Join(err, err2)
		},
	}, nil
}

func describeRevoke(c *call, p *api.RevokeParams) (prompt.Confirm, error) {
	request, err := c.describeKey(p.KID, func(s vault.State) error {
		if s == vault.Revoked {
			return vault.ErrRevoked
		}
		return nil
	})
	request.Reason = p.Reason
	return request, err
}

func keysRevoke(c *call, p *api.RevokeParams) (outcome, error) {
	tombstone := &vault.Key{}
	out := outcome{
		KID: p.KID, Apply: vault.Revoke(p.KID, p.Reason, tombstone),
		Finish: func() (any, error) {
			c.vault.Drop(p.KID)
			shown, err := show(tombstone)
			return api.KeyResult{Key: shown}, err
		},
	}
	if p.Reason != "" {
		out.Details = map[string]string{"reason": p.Reason}
	}
	return out, nil
}
