// SPDX-License-Identifier: Apache-2.0

// Package guard stands before images of others: it asks the signature policy, and
// keeps what the library reads of them to what their manifests say.
package guard

import (
	"errors"

	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage/pkg/configfile"

	"github.com/proa-containers/proa/pkg/errs"
)

// Policy reads policy.json. Where there is none every image is allowed,
// as in Docker. The caller destroys it.
func Policy(sys *types.SystemContext) (*signature.PolicyContext, error) {
	p, err := signature.DefaultPolicy(sys)
	// Only where no file was found: one that was named and is missing must not
	// open the door.
	if errors.Is(err, configfile.ErrConfigFileNotFound) {
		p, err = anything(), nil
	}
	if err != nil {
		return nil, errs.WithHint(errs.Wrap(errs.New(errs.Invalid, "%w", err), "read the signature policy", ""), "correct the file; \"proa image trust show\" reads it too")
	}
	return signature.NewPolicyContext(p)
}

// Anything accepts every image: for what is our own already, and for what a Source
// has asked the policy about. The caller destroys it.
func Anything() (*signature.PolicyContext, error) { return signature.NewPolicyContext(anything()) }

func anything() *signature.Policy {
	return &signature.Policy{Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}}
}

// Deny says what the policy refused, and why. Kind Denied.
func Deny(what string, err error) error {
	return errs.WithHint(errs.New(errs.Denied, "the signature policy does not allow this %s: %w", what, err),
		"see the rules with \"proa image trust show\"")
}
