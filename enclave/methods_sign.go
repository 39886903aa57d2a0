package enclave

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

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
	return c.signToken(s, c.cfg.Now(), tokenClaims{
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
	claims := tokenClaims{Audience: audience, Subject: p.Subject, TTL: p.TTLSeconds}
	if c.lease != "" {
		return c.pushTokens(p, claims)
	}
	switch {
	case p.KID == "":
		return outcome{}, invalid("/params/kid", "missing or empty, and there is no lease")
	case p.TTLSeconds > api.MaxVAPIDTTL:
		return outcome{}, invalid("/params/ttlSeconds", "%d, at most %d allowed without a lease", p.TTLSeconds, api.MaxVAPIDTTL)
	case p.Count > 1:
		return outcome{}, invalid("/params/count", "%d, one token is given without a lease", p.Count)
	}
	s, err := c.signer(p.KID, vault.VAPID)
	if err != nil {
		return outcome{}, err
	}
	return c.signToken(s, c.cfg.Now(), claims)
}

// signToken makes one token, by a key that the vault holds open.
func (c *call) signToken(s *vault.Signer, now time.Time, claims tokenClaims) (outcome, error) {
	tokens, pending, err := c.signTokens(s, now.Unix(), claims, 1)
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		Result: &tokens[0], KID: s.KID, Apply: vault.Use(s.KID), Pending: pending,
		Details: map[string]string{"aud": claims.Audience, "jti": tokens[0].JTI},
	}, nil
}

// signTokens begins to sign n tokens, which pending completes.
func (c *call) signTokens(s *vault.Signer, now int64, claims tokenClaims, n int) ([]api.Token, *pending, error) {
	made, messages := make([]token, n), make([][]byte, n)
	for i := range made {
		var err error
		if made[i], err = newToken(c.cfg.Rand, now, s, claims); err != nil {
			return nil, nil, err
		}
		messages[i] = made[i].input
	}
	tokens := make([]api.Token, n)
	for i, t := range made {
		tokens[i] = api.Token{Exp: t.exp, JTI: t.jti}
	}
	pending, err := c.sign(s, func(signatures [][]byte) {
		for i, t := range made {
			tokens[i].Token = t.join(signatures[i])
		}
	}, messages...)
	return tokens, pending, err
}

// pending is work that goes on while the ledger prepares to record it.
type pending struct {
	signings []keyengine.Signing
	done     func(signatures [][]byte)
	taken    atomic.Bool // somebody waits for it, or has dropped it
}

var errDropped = errors.New("enclave: nobody waits for it any more")

// sign begins to sign messages. done is given the signatures.
func (c *call) sign(s *vault.Signer, done func(signatures [][]byte), messages ...[]byte) (*pending, error) {
	p := &pending{done: done}
	for _, message := range messages {
		signing, err := c.cfg.Engine.StartSign(s.Private, message)
		if err != nil {
			p.drop()
			return nil, err
		}
		p.signings = append(p.signings, signing)
	}
	return p, nil
}

// wait is a ledger.Op's Ready.
func (p *pending) wait(ctx context.Context) error {
	if p.taken.Swap(true) {
		return errDropped
	}
	signatures := make([][]byte, len(p.signings))
	for i, signing := range p.signings {
		var err error
		if signatures[i], err = signing.Wait(ctx); err != nil {
			drop(p.signings[i+1:])
			return err
		}
	}
	p.done(signatures)
	return nil
}

func (p *pending) drop() {
	if !p.taken.Swap(true) {
		drop(p.signings)
	}
}

func drop(signings []keyengine.Signing) {
	for _, signing := range signings {
		signing.Drop()
	}
}

func challengeSign(c *call, p *api.SignChallengeParams) (outcome, error) {
	s, err := c.signer(p.KID, vault.Signing, vault.Identity)
	if err != nil {
		return outcome{}, err
	}
	result := &api.Signature{}
	pending, err := c.sign(s, func(signatures [][]byte) { result.Signature = signatures[0] }, vault.ChallengeInput(p.Context, p.Data))
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
