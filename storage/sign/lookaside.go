// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"go.podman.io/image/v5/signature"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/filelock"
)

// putSignature adds a signature to those of an image: the files signature-1,
// signature-2 and so on, without a gap. It replaces the older one by the same
// key for the same name.
func putSignature(dir string, sig []byte) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	defer d.Close()
	if err := filelock.Flock(d, syscall.LOCK_EX); err != nil {
		return "", err
	}
	own, err := signature.GetUntrustedSignatureInformationWithoutVerifying(sig)
	if err != nil {
		return "", err
	}
	for i := 1; ; i++ {
		path := filepath.Join(dir, fmt.Sprintf("signature-%d", i))
		there, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err == nil {
			old, err := signature.GetUntrustedSignatureInformationWithoutVerifying(there)
			if err != nil || old.UntrustedShortKeyIdentifier != own.UntrustedShortKeyIdentifier || old.UntrustedDockerReference != own.UntrustedDockerReference {
				continue
			}
		}
		return path, atomicfile.Write(path, sig, 0o644, atomicfile.Durable)
	}
}
