package enclave

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/vault"
)

// signer returns a key if it serves one of the purposes. What a key signs
// follows from its purpose alone, so that no signature can be taken for
// another kind's.
func (c *call) signer(kid string, purposes ...vault.Purpose) (*vault.Signer, error) {
	s, err := c.vault.Signer(c.ctx, kid)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(purposes, s.Purpose) {
		return nil, errorf(api.Denied, "a key for %s is not for %s; use one for %s", s.Purpose, c.row.Method, joinPurposes(purposes))
	}
	return s, nil
}

func joinPurposes(purposes []vault.Purpose) string {
	names := make([]string, len(purposes))
	for i, p := range purposes {
		names[i] = string(p)
	}
	return strings.Join(names, " or ")
}

func jwtSign(c *call, p *api.SignJWTParams) (outcome, error) {
	if failure := checkClaims(p); failure != nil {
		return outcome{}, failure
	}
	s, err := c.signer(p.KID, vault.Signing)
	if err != nil {
		return outcome{}, err
	}
	return c.signToken(s, tokenClaims{
		Audience: p.Audience, Subject: p.Subject, TTL: p.TTLSeconds, Extra: p.Claims,
	})
}

func tokenVAPID(c *call, p *api.VAPIDParams) (outcome, error) {
	audience, failure := endpointOrigin(p.Endpoint)
	if failure == nil {
		failure = checkContact(p.Subject)
	}
	if failure != nil {
		return outcome{}, failure
	}
	s, err := c.signer(p.KID, vault.VAPID)
	if err != nil {
		return outcome{}, err
	}
	return c.signToken(s, tokenClaims{Audience: audience, Subject: p.Subject, TTL: p.TTLSeconds})
}

func (c *call) signToken(s *vault.Signer, claims tokenClaims) (outcome, error) {
	t, err := newToken(c.cfg.Rand, c.cfg.Now(), s, claims)
	if err != nil {
		return outcome{}, err
	}
	result := &api.Token{Exp: t.exp, JTI: t.jti}
	pending, err := c.sign(s, t.input, func(signature []byte) { result.Token = t.join(signature) })
	return outcome{
		Result: result, KID: s.KID, Apply: vault.Use(s.KID), Pending: pending,
		Details: map[string]string{"aud": claims.Audience, "jti": t.jti},
	}, err
}

// pending is work that goes on while the ledger prepares to record it.
type pending struct {
	signing keyengine.Signing
	done    func(signature []byte)
	taken   atomic.Bool // somebody waits for it, or has dropped it
}

var errDropped = errors.New("enclave: nobody waits for it any more")

// sign begins to sign. done is given the signature.
func (c *call) sign(s *vault.Signer, message []byte, done func(signature []byte)) (*pending, error) {
	signing, err := c.cfg.Engine.StartSign(s.Private, message)
	if err != nil {
		return nil, err
	}
	return &pending{signing: signing, done: done}, nil
}

// wait is a ledger.Op's Ready.
func (p *pending) wait(ctx context.Context) error {
	if p.taken.Swap(true) {
		return errDropped
	}
	signature, err := p.signing.Wait(ctx)
	if err == nil {
		p.done(signature)
	}
	return err
}

func (p *pending) drop() {
	if !p.taken.Swap(true) {
		p.signing.Drop()
	}
}

func challengeSign(c *call, p *api.SignChallengeParams) (outcome, error) {
	s, err := c.signer(p.KID, vault.Signing, vault.Identity)
	if err != nil {
		return outcome{}, err
	}
	result := &api.Signature{}
	pending, err := c.sign(s, vault.ChallengeInput(p.Context, p.Data), func(signature []byte) { result.Signature = signature })
	return outcome{
		Result: result, KID: s.KID, Apply: vault.Use(s.KID), Pending: pending,
		Details: map[string]string{"context": p.Context},
	}, err
}

func challengeVerify(c *call, p *api.VerifyChallengeParams) (outcome, error) {
	alg := keyengine.Alg(p.Alg)
	if len(p.PublicKey) != alg.PublicSize() {
		return outcome{}, invalid("/params/publicKey", "%d bytes for %s, %d wanted", len(p.PublicKey), alg, alg.PublicSize())
	}
	valid, err := c.cfg.Engine.Verify(c.ctx, alg, p.PublicKey, vault.ChallengeInput(p.Context, p.Data), p.Signature)
	return outcome{Result: api.Verdict{Valid: valid}}, err
}

func keyAgree(c *call, p *api.AgreeParams) (outcome, error) {
	s, err := c.signer(p.KID, vault.Agreement)
	if err != nil {
		return outcome{}, err
	}
	salt, info := vault.AgreeParams(s.Public, p.PublicKey, p.Context)
	secret, err := c.cfg.Engine.Agree(c.ctx, s.Private, p.PublicKey, salt, info, 32)
	return outcome{
		Result: api.Agreed{Secret: secret}, KID: s.KID, Apply: vault.Use(s.KID),
		Details: map[string]string{"context": p.Context},
	}, err
}
