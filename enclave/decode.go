package enclave

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/kms-enclave/kms-enclave/api"
)

// maxID is the largest integer that JavaScript holds exactly.
const maxID = 1<<53 - 1

var strict = json.RejectUnknownMembers(true)

// decodeRequest reads the envelope. If it fails, the request still carries the
// id as far as that could be read, so that the caller learns which one failed.
func decodeRequest(text []byte) (api.Request, *api.Error) {
	if len(text) > api.MaxMessage {
		return api.Request{}, invalid("", "request of %d bytes, at most %d allowed; page or shorten it", len(text), api.MaxMessage)
	}
	if failure := checkShape(text); failure != nil {
		return api.Request{ID: peekID(text)}, failure
	}
	var r api.Request
	if err := json.Unmarshal(text, &r, strict); err != nil {
		return api.Request{ID: peekID(text)}, decodeError("", err)
	}
	switch {
	case r.ID < 1 || r.ID > maxID:
		return api.Request{}, invalid("/id", "an integer from 1 to 2^53-1 wanted")
	case r.V != api.Version:
		return r, invalid("/v", "protocol version %d, %d wanted", r.V, api.Version)
	case r.Method == "":
		return r, invalid("/method", "missing")
	}
	return r, nil
}

// checkShape refuses null and deep nesting, neither of which json.Unmarshal
// minds. Claims may contain null: they are the app's own.
func checkShape(text []byte) *api.Error {
	if !bytes.Contains(text, []byte("null")) && bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= api.MaxDepth {
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return nil // malformed, or the end: json.Unmarshal says so better
		}
		at := string(d.StackPointer())
		if d.StackDepth() > api.MaxDepth {
			return invalid("", "nested deeper than %d", api.MaxDepth)
		}
		if token.Kind() == 'n' && !strings.HasPrefix(at, "/params/claims/") {
			return invalid(at, "null; leave the member out instead")
		}
	}
}

// peekID finds the id of a request that does not decode, or 0.
func peekID(text []byte) int64 {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return 0
	}
	for {
		name, err := d.ReadToken()
		if err != nil || name.Kind() != '"' {
			return 0
		}
		isID := name.String() == "id"
		value, err := d.ReadValue()
		if err != nil {
			return 0
		}
		var id int64
		if isID {
			if json.Unmarshal(value, &id) != nil || id < 1 || id > maxID {
				return 0
			}
			return id
		}
	}
}

// decoderFor returns a function that decodes parameters into a new P and
// enforces the check tags of its fields.
func decoderFor[P any]() func([]byte) (any, *api.Error) {
	checks := checksOf(reflect.TypeFor[P]())
	return func(raw []byte) (any, *api.Error) {
		p := new(P)
		if len(raw) == 0 {
			raw = []byte("{}")
		}
		if err := json.Unmarshal(raw, p, strict); err != nil {
			return nil, decodeError("/params", err)
		}
		v := reflect.ValueOf(p).Elem()
		for _, c := range checks {
			if failure := c.run(v); failure != nil {
				return nil, failure
			}
		}
		return p, nil
	}
}

// decodeError says in words what encoding/json found, and which member it is
// about. It never repeats the value.
func decodeError(prefix string, err error) *api.Error {
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		member := prefix + string(e.JSONPointer)
		switch {
		case errors.Is(e, json.ErrUnknownName):
			return invalid(member, "unknown member")
		case e.GoType != nil && e.GoType == reflect.TypeFor[api.Bytes]() && e.JSONKind == '"':
			return invalid(member, "base64url without padding wanted, in its canonical form")
		case e.GoType != nil:
			return invalid(member, "%s wanted", kindName(e.GoType))
		}
		return invalid(member, "wrong type")
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		member := prefix + string(e.JSONPointer)
		if errors.Is(e, jsontext.ErrDuplicateName) {
			return invalid(member, "duplicate member")
		}
		return invalid(member, "not valid JSON (RFC 8259) at byte %d", e.ByteOffset)
	}
	return invalid(prefix, "not valid JSON (RFC 8259)")
}

func kindName(t reflect.Type) string {
	if t == reflect.TypeFor[api.Bytes]() {
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int64:
		return "an integer"
	case reflect.Uint64:
		return "an integer that is not negative"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "another type"
}

// encodeReply returns the JSON text of a reply. One that is too big to send is
// answered with an error instead; handlers page so that this does not happen.
func encodeReply(r api.Reply) []byte {
	text, err := json.Marshal(r, json.Deterministic(true))
	if err == nil && len(text) <= api.MaxMessage {
		return text
	}
	reason := errorf(api.Internal, "the reply cannot be sent: over %d bytes; ask for less at once", api.MaxMessage)
	if err != nil {
		reason = errorf(api.Internal, "the reply cannot be encoded")
	}
	text, err = json.Marshal(api.Reply{ID: r.ID, Error: reason})
	if err != nil {
		panic("enclave: an error reply does not encode")
	}
	return text
}

func invalid(member, format string, args ...any) *api.Error {
	message := fmt.Sprintf(format, args...)
	if member != "" {
		message = "member " + printable(member) + ": " + message
	}
	return &api.Error{Code: api.InvalidRequest, Message: message, Details: map[string]string{"member": printable(member)}}
}

// printable bounds a member's name, which the caller chose, and drops what is
// not text.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	if len(s) > 128 {
		cut := 128
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "..."
	}
	return s
}
