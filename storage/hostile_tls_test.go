// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/test/wild"
)

// tlsServer serves g with a certificate of its own and puts that into dir as the
// CA to trust.
func tlsServer(t *testing.T, g *wild.Registry, dir, host string, until time.Time) *httptest.Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pemBytes := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), pemBytes, 0o600); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(g)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func TestHostileTLS(t *testing.T) {
	tomorrow := time.Now().Add(24 * time.Hour)
	for name, c := range map[string]struct {
		host  string
		until time.Time
		trust bool
		says  string // empty: it works
	}{
		"trusted":      {"127.0.0.1", tomorrow, true, ""},
		"unknown":      {"127.0.0.1", tomorrow, false, "cannot trust the certificate of "},
		"another host": {"registry.example.com", tomorrow, true, "cannot trust the certificate of "},
		"out of date":  {"127.0.0.1", time.Now().Add(-time.Hour), true, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			s, g := newStore(t, ""), wild.New()
			craft(g, tarOf(t, file("a", "b"))).serve(t, g)
			dir := t.TempDir()
			srv := tlsServer(t, g, dir, c.host, c.until)
			host := strings.TrimPrefix(srv.URL, "https://")
			o := fast(1)
			if c.trust {
				o.CertDir = dir // which asks for verification also on loopback
			} else {
				o.TLSVerify = new(true)
			}
			_, err := s.Pull(context.Background(), host+"/bad/image", PullOptions{RemoteOptions: o})
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), c.says) || !strings.Contains(errs.HintOf(err), "certs.d") {
				t.Errorf("got %v (%v, hint %q)", err, errs.KindOf(err), errs.HintOf(err))
			}
			noLeftovers(t, s)
			insecure := false
			o.TLSVerify = &insecure
			if _, err := s.Pull(context.Background(), host+"/bad/image", PullOptions{RemoteOptions: o}); err != nil {
				t.Errorf("without verification: %v", err)
			}
		})
	}
}

// A registry that speaks HTTP is not spoken to unless somebody says so.
func TestPlainHTTP(t *testing.T) {
	s, g := newStore(t, ""), wild.New()
	craft(g, tarOf(t, file("a", "b"))).serve(t, g)
	srv, host := g.Start()
	defer srv.Close()
	o := fast(1)
	o.TLSVerify = new(true) // loopback is trusted without it
	_, err := s.Pull(context.Background(), host+"/bad/image", PullOptions{RemoteOptions: o})
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "speaks HTTP, not HTTPS") || !strings.Contains(errs.HintOf(err), "--tls-verify=false") {
		t.Errorf("got %v (%v)", err, errs.HintOf(err))
	}
	noLeftovers(t, s)
}
