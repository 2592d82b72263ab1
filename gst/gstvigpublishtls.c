/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigpublishtls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

/* Nobody is there to be asked for it. */
static int
no_passphrase (char *buffer, int size, int writing, void *data)
{
  return 0;
}

static gboolean
fail (const char *name, const char *path, const char *expected, GError **error)
{
  const char *reason = ERR_reason_error_string (ERR_peek_last_error ());
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "%s: %s: expected %s, found what cannot be used: %s.", name,
      path, expected, reason ? reason : "unknown");
  return FALSE;
}

static gboolean
check (SSL_CTX *context, const GstVigPublishSettings *s, GError **error)
{
  SSL_CTX_set_default_passwd_cb (context, no_passphrase);
  if (s->ca_file && SSL_CTX_load_verify_locations (context, s->ca_file, NULL) != 1)
    return fail ("ca-file", s->ca_file, "certificates in PEM format", error);
  if (s->cert_file && SSL_CTX_use_certificate_chain_file (context, s->cert_file) != 1)
    return fail ("cert-file", s->cert_file, "a certificate in PEM format", error);
  if (s->key_file && SSL_CTX_use_PrivateKey_file (context, s->key_file, SSL_FILETYPE_PEM) != 1)
    return fail ("key-file", s->key_file, "the certificate's key in PEM format, without a passphrase", error);
  return TRUE;
}

gboolean
gst_vig_publish_tls_check (const GstVigPublishSettings *settings, GError **error)
{
  SSL_CTX *context = settings->tls ? SSL_CTX_new (TLS_client_method ()) : NULL;
  const gboolean ok = !context || check (context, settings, error); /* without memory for one connecting will say so */
  ERR_clear_error ();
  SSL_CTX_free (context);
  return ok;
}
