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
	"github.com/proa-containers/proa/storage/conffile"
)

// Policy reads policy.json. Where there is none every image is allowed, as in
// Docker; one that is named, or that a link stands for, and is missing is an
// error. The caller destroys it.
func Policy(sys *types.SystemContext) (*signature.PolicyContext, error) {
	if err := checkPolicy(sys); err != nil {
		return nil, err
	}
	p, err := signature.DefaultPolicy(sys)
	// Only where no file was found: one that was named and is missing must not
	// open the door.
	if errors.Is(err, configfile.ErrConfigFileNotFound) {
		p, err = anything(), nil
	}
	if err != nil {
		err = errs.Wrap(errs.New(errs.Invalid, "%w", err), "read the signature policy", "")
		return nil, errs.WithHint(err, "correct the file; \"proa image trust show\" reads it too")
	}
	return signature.NewPolicyContext(p)
}

// checkPolicy refuses a policy.json that is a link to a missing file: the library
// would go on to the next one, or to none.
func checkPolicy(sys *types.SystemContext) error {
	root := ""
	if sys != nil {
		if sys.SignaturePolicyPath != "" {
			return nil // the library insists on this one
		}
		root = sys.RootForImplicitAbsolutePaths
	}
	return conffile.Check(conffile.Policy(root))
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
