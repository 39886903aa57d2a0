package release

import (
	"fmt"
	"path"
	"strings"
)

// Headers are the response headers of one file, without those that follow from
// its length or version.
type Headers map[string]string

// A browser keeps what is named by its hash for a year, and never asks again.
const immutable = "public, max-age=31536000, immutable"

// Features of the platform that the frame does without. WebAuthn is the only
// one it may use, and only if the embedding app allows it too.
var withoutFeatures = []string{
	"accelerometer", "autoplay", "bluetooth", "camera", "clipboard-read", "clipboard-write",
	"display-capture", "encrypted-media", "fullscreen", "geolocation", "gyroscope", "hid",
	"identity-credentials-get", "idle-detection", "local-fonts", "magnetometer", "microphone",
	"midi", "otp-credentials", "payment", "picture-in-picture", "screen-wake-lock", "serial",
	"storage-access", "usb", "web-share", "window-management", "xr-spatial-tracking",
}

func permissionsPolicy() string {
	var b strings.Builder
	for _, feature := range withoutFeatures {
		b.WriteString(feature + "=(), ")
	}
	return b.String() + "publickey-credentials-create=(self), publickey-credentials-get=(self)"
}

// Headers returns the response headers of every file of r and of its manifest,
// by the file's name. This is the only place that says what they are.
func (r Description) Headers(d Deployment) (map[string]Headers, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	all := map[string]Headers{}
	for _, name := range r.served() {
		h := Headers{
			// For embedders and auditors: whoever pins may fetch and compare.
			"Access-Control-Allow-Origin":   "*",
			"Access-Control-Expose-Headers": "Content-Security-Policy",
			// Embeddable from plain and from cross-origin-isolated apps.
			"Cross-Origin-Resource-Policy": "cross-origin",
			"Cross-Origin-Embedder-Policy": "require-corp",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Content-Security-Policy":      r.contentSecurityPolicy(d),
			"Permissions-Policy":           permissionsPolicy(),
			"Connection-Allowlist":         r.connectionAllowlist(d),
			"Content-Type":                 contentTypes[path.Ext(name)],
			"Cache-Control":                immutable,
		}
		if name == pageName || name == ManifestName {
			h["Cache-Control"] = "no-store"
		}
		all[name] = h
	}
	return all, nil
}

// served returns the names of everything in the directory of r.
func (r Description) served() []string {
	names := make([]string, 0, len(r.Files)+1)
	for _, f := range r.Files {
		names = append(names, f.Name)
	}
	return append(names, ManifestName)
}

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".wasm": "application/wasm",
	".json": "application/json",
}

// contentSecurityPolicy is the pin, and what deployments add to it. The loader
// starts under this text to the letter, or not at all.
func (r Description) contentSecurityPolicy(d Deployment) string {
	return r.Policy + "; frame-ancestors " + d.frameAncestors() +
		"; require-trusted-types-for 'script'; trusted-types enclave"
}

// connectionAllowlist names the one URL that the page may reach, if the origin
// is known; otherwise the origin. Only the URL also stops self-navigation.
// (Connection Allowlists, a proposal that Chromium implements.)
func (r Description) connectionAllowlist(d Deployment) string {
	if d.Origin == "" {
		return "(response-origin)"
	}
	return fmt.Sprintf("(%q)", d.Origin+r.Path+r.Files[1].Name)
}

// restHeaders are the headers of everything on the origin that is not a file of
// a release: a line of text that nobody embeds and that runs nothing.
func restHeaders() Headers {
	return Headers{
		"Access-Control-Allow-Origin":  "*",
		"Cross-Origin-Resource-Policy": "cross-origin",
		"Content-Security-Policy":      "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Content-Type":                 "text/plain; charset=utf-8",
		"Cache-Control":                "no-store",
	}
}
