package openbao

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"
)

// Login is a way to obtain a token: AppRole, Kubernetes or Token.
type Login interface {
	check() error
	login(ctx context.Context, client *api.Client) (token string, granted lease, err error)
}

// AppRole logs in as an application with a role id and a secret id.
type AppRole struct {
	// Mount is the path of the method. Defaults to "approle".
	Mount string
	// RoleID names the role. It is no secret.
	RoleID string
	// SecretIDFile is a file that holds the secret id. It is read at each login,
	// so it may be replaced.
	SecretIDFile string
}

func (a AppRole) check() error {
	if a.RoleID == "" || a.SecretIDFile == "" {
		return errors.New("AppRole needs RoleID and SecretIDFile")
	}
	return nil
}

func (a AppRole) login(ctx context.Context, client *api.Client) (string, lease, error) {
	secretID, err := readSecret(a.SecretIDFile)
	if err != nil {
		return "", lease{}, err
	}
	return loginBy(ctx, client, cmp.Or(a.Mount, "approle"), map[string]any{"role_id": a.RoleID, "secret_id": secretID})
}

// Kubernetes logs in with the token of the pod's service account.
type Kubernetes struct {
	// Mount is the path of the method. Defaults to "kubernetes".
	Mount string
	// Role is the role to log in to.
	Role string
	// TokenFile holds the service account's token, and is read at each login:
	// Kubernetes replaces it. Defaults to where Kubernetes mounts it.
	TokenFile string
}

func (k Kubernetes) check() error {
	if k.Role == "" {
		return errors.New("Kubernetes needs Role")
	}
	return nil
}

func (k Kubernetes) login(ctx context.Context, client *api.Client) (string, lease, error) {
	jwt, err := readSecret(cmp.Or(k.TokenFile, "/var/run/secrets/kubernetes.io/serviceaccount/token"))
	if err != nil {
		return "", lease{}, err
	}
	return loginBy(ctx, client, cmp.Or(k.Mount, "kubernetes"), map[string]any{"role": k.Role, "jwt": jwt})
}

// Token is a token that others obtain and put into a file, such as an agent. The
// file is read again when the server refuses the token. It is renewed if it can be.
type Token struct {
	File string
}

func (t Token) check() error {
	if t.File == "" {
		return errors.New("Token needs File")
	}
	return nil
}

func (t Token) login(ctx context.Context, client *api.Client) (string, lease, error) {
	token, err := readSecret(t.File)
	if err != nil {
		return "", lease{}, err
	}
	client.SetToken(token)
	self, err := client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return "", lease{}, err
	}
	ttl, err := self.TokenTTL()
	if err != nil {
		return "", lease{}, err
	}
	renewable, err := self.TokenIsRenewable()
	return token, lease{id: "token", ttl: ttl, whole: ttl, renewable: renewable, endless: ttl == 0}, err
}

func loginBy(ctx context.Context, client *api.Client, mount string, body map[string]any) (string, lease, error) {
	answer, err := client.Logical().WriteWithContext(ctx, "auth/"+strings.Trim(mount, "/")+"/login", body)
	if err != nil {
		return "", lease{}, err
	}
	if answer == nil || answer.Auth == nil || answer.Auth.ClientToken == "" {
		return "", lease{}, fmt.Errorf("the answer of auth/%s/login has no token", mount)
	}
	ttl := time.Duration(answer.Auth.LeaseDuration) * time.Second
	return answer.Auth.ClientToken, lease{id: "token", ttl: ttl, whole: ttl, renewable: answer.Auth.Renewable, endless: ttl == 0}, nil
}

// readSecret returns what a file holds, without blanks around it.
func readSecret(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return secret, nil
}
