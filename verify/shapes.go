package verify

import (
	"net/http"
	"path"
	"strings"
)

// A shape is one way to ask for a file, as somebody who matters asks for it.
// The Fetch Metadata headers tell a server what is being loaded
// (https://www.w3.org/TR/fetch-metadata/).
type shape struct {
	name   string // "as Chromium's frame asks for it"
	header func(file string, app string) http.Header
	covers func(file string) bool
}

// The engines that the product runs in, as they introduce themselves.
const (
	chromium = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
	firefox  = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"
	safari   = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15"
)

// browser is what one engine sends beside the Fetch Metadata.
type browser struct {
	name, agent, acceptPage, acceptEncoding string
	more                                    map[string]string
}

var browsers = []browser{
	{
		"Chromium", chromium, "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7", "gzip, deflate, br, zstd",
		map[string]string{"Sec-Ch-Ua": `"Chromium";v="156", "Not)A;Brand";v="24"`, "Sec-Ch-Ua-Mobile": "?0", "Sec-Ch-Ua-Platform": `"Linux"`, "Accept-Language": "en-US,en;q=0.9"},
	},
	{
		"Firefox", firefox, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "gzip, deflate, br, zstd",
		map[string]string{"Accept-Language": "en-US,en;q=0.5"},
	},
	{
		"Safari", safari, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "gzip, deflate, br",
		map[string]string{"Accept-Language": "en-US,en;q=0.9"},
	},
}

// shapes are all ways in which files are asked for.
func shapes() []shape {
	all := []shape{{name: "plainly", header: plain, covers: everything}}
	for _, b := range browsers {
		all = append(all, shape{"as " + b.name + "'s frame asks", b.frame, ofTheFrame}, shape{"as the SDK in " + b.name + " asks", b.sdk, ofTheSDK})
	}
	return all
}

func everything(string) bool { return true }

// The frame loads the page and its script; the SDK fetches both to compare
// them, and the module, which it hands in. A page may read the manifest, too.
func ofTheFrame(file string) bool { return path.Ext(file) == ".html" || path.Ext(file) == ".js" }

func ofTheSDK(file string) bool { return path.Base(file) != "sbom.cdx.json" }

func plain(string, string) http.Header {
	return http.Header{"Accept": {"*/*"}, "Accept-Encoding": {"identity"}, "User-Agent": {"curl/8.5.0"}}
}

func (b browser) common() http.Header {
	h := http.Header{"User-Agent": {b.agent}, "Accept-Encoding": {b.acceptEncoding}}
	for name, value := range b.more {
		h.Set(name, value)
	}
	return h
}

func (b browser) frame(file, app string) http.Header {
	h := b.common()
	if path.Ext(file) == ".html" {
		h.Set("Accept", b.acceptPage)
		h.Set("Upgrade-Insecure-Requests", "1")
		setFetchMetadata(h, "iframe", "navigate", "cross-site")
		return h // the SDK's frame says referrerpolicy="no-referrer"
	}
	h.Set("Accept", "*/*")
	setFetchMetadata(h, "script", "no-cors", "same-origin")
	return h
}

func (b browser) sdk(_, app string) http.Header {
	h := b.common()
	h.Set("Accept", "*/*")
	h.Set("Origin", app)
	setFetchMetadata(h, "empty", "cors", "cross-site")
	return h
}

func setFetchMetadata(h http.Header, dest, mode, site string) {
	h.Set("Sec-Fetch-Dest", dest)
	h.Set("Sec-Fetch-Mode", mode)
	h.Set("Sec-Fetch-Site", site)
}

// embedder returns an app that may embed, to ask in its name.
func embedder(ancestors []string) string {
	if len(ancestors) == 0 {
		return "https://app.example"
	}
	return strings.Replace(ancestors[0], "*.", "www.", 1)
}
