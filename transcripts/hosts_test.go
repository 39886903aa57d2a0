package transcripts

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWebServers serves a built directory with real web servers, configured by
// the generated files alone, and verifies them with the command: old and new
// release, raw and compressed.
func TestWebServers(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dist := filepath.Join(t.TempDir(), "dist")
	for _, version := range []string{"1.0.0", "1.0.1"} {
		cmd := exec.Command("enclave", "build", "--out", dist, "--version", version, "--frame-ancestors", "https://app.example", "--origin", "https://kms.example", "--compress="+strconv.FormatBool(version == "1.0.1"))
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, s := range []struct {
		name  string
		start func(t *testing.T, program, dist string, port int) *exec.Cmd
	}{{"nginx", nginx}, {"caddy", caddy}} {
		t.Run(s.name, func(t *testing.T) {
			port := freePort(t)
			serveWith(t, s.start(t, program(t, root, s.name), dist, port), port)
			origin := fmt.Sprintf("http://127.0.0.1:%d", port)
			pages, err := filepath.Glob(filepath.Join(dist, "r", "*", "kms.html"))
			if err != nil || len(pages) != 2 {
				t.Fatalf("%d releases, %v", len(pages), err)
			}
			for _, page := range pages {
				verified(t, origin+"/r/"+filepath.Base(filepath.Dir(page))+"/kms.html")
			}
			verified(t, origin)
			checkRest(t, origin)
			checkCompressed(t, origin, filepath.Base(filepath.Dir(newestOf(t, dist))))
		})
	}
}

// TestVerifyNotices: a server whose configuration somebody "improved" is not verified.
func TestVerifyNotices(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dist := filepath.Join(t.TempDir(), "dist")
	cmd := exec.Command("enclave", "build", "--out", dist, "--frame-ancestors", "https://app.example", "--compress=false")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	conf := filepath.Join(dist, "nginx.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(text, []byte(`add_header Cross-Origin-Resource-Policy "cross-origin" always;`), []byte(`add_header Link "</x.js>; rel=preload" always;`), 1)
	if bytes.Equal(changed, text) {
		t.Fatal("nothing was changed")
	}
	if err := os.WriteFile(conf, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	serveWith(t, nginx(t, program(t, root, "nginx"), dist, port), port)
	code, report := verify(t, fmt.Sprintf("http://127.0.0.1:%d", port))
	if code != 1 || report.Verdict != "different" || !strings.HasPrefix(report.Difference.What, "header ") {
		t.Errorf("exit code %d, %+v", code, report)
	}
}

type report struct {
	Version    int    `json:"version"`
	Verdict    string `json:"verdict"`
	Problem    string `json:"problem"`
	Difference struct {
		File, Shape, What, Got, Want string
	} `json:"difference"`
}

func verify(t *testing.T, target string) (int, report) {
	t.Helper()
	cmd := exec.Command("enclave", "verify", target, "--json")
	out, err := cmd.Output()
	var r report
	if jsonErr := json.Unmarshal(out, &r, json.MatchCaseInsensitiveNames(true)); jsonErr != nil || r.Version != 1 {
		t.Fatalf("%s: %v %v\n%s", target, err, jsonErr, out)
	}
	return cmd.ProcessState.ExitCode(), r
}

func verified(t *testing.T, target string) {
	t.Helper()
	if code, r := verify(t, target); code != 0 || r.Verdict != "verified" {
		t.Errorf("%s: exit code %d, %+v", target, code, r)
	}
}

// checkRest: everything else does not exist, and runs nothing.
func checkRest(t *testing.T, origin string) {
	t.Helper()
	for _, path := range []string{"/", "/sw.js", "/nginx.conf", "/Caddyfile", "/_headers", "/r/", "/r/x/kms.html"} {
		response, err := http.Get(origin + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if csp := response.Header.Get("Content-Security-Policy"); response.StatusCode != 404 || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: %d, policy %q", path, response.StatusCode, csp)
		}
	}
}

// checkCompressed: the compressed form of the module is what a browser gets.
func checkCompressed(t *testing.T, origin, hex string) {
	t.Helper()
	q, err := http.NewRequest("GET", origin+"/r/"+hex+"/"+hex+".js", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept-Encoding", "gzip")
	response, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Encoding"); response.StatusCode != 200 || got != "gzip" {
		t.Errorf("loader: %d, content coding %q", response.StatusCode, got)
	}
}

func newestOf(t *testing.T, dist string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dist, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Release struct{ Path string } `json:"release"`
	}
	if err := json.Unmarshal(text, &m, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	return m.Release.Path + "kms.html"
}

// program finds a web server: on the PATH, or where e2e/install.sh unpacked it.
func program(t *testing.T, root, name string) string {
	t.Helper()
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	for _, dir := range []string{"usr/sbin", "usr/bin"} {
		found := filepath.Join(root, "tools", "bin", "servers", dir, name)
		if _, err := os.Stat(found); err == nil {
			return found
		}
	}
	t.Fatalf("%s is missing; sh e2e/install.sh gets it", name)
	return ""
}

func nginx(t *testing.T, program, dist string, port int) *exec.Cmd {
	dir := t.TempDir()
	conf := filepath.Join(dir, "main.conf")
	text := fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr;
events { }
http {
    access_log off;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    server {
        listen 127.0.0.1:%[2]d;
        root %[3]s;
        include %[3]s/nginx.conf;
    }
}
`, dir, port, dist)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.Command(program, "-p", dir, "-e", "stderr", "-c", conf)
}

func caddy(t *testing.T, program, dist string, port int) *exec.Cmd {
	dir := t.TempDir()
	conf := filepath.Join(dir, "Caddyfile")
	text := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n}\nhttp://127.0.0.1:%d {\n\troot * %s\n\timport %s/Caddyfile\n}\n", port, dist, dist)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "run", "--config", conf, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
	return cmd
}

// serveWith starts a server, waits until it listens, and ends it with the test.
func serveWith(t *testing.T, cmd *exec.Cmd, port int) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, said.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", cmd.Path, err, said.String())
		case <-ctx.Done():
			t.Fatalf("%s does not listen\n%s", cmd.Path, said.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// copyTree copies regular files, without the directories that skip names.
func copyTree(from, to string, skip []string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && slices.Contains(skip, d.Name()):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o644)
	})
}
