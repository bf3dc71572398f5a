// An OpenID provider for tests: PKCE is required, and whoever comes is the subject that GET /be/SUBJECT said last.
// Usage: PEOPLE='{"subject": {"email": …}}' node provider.js PORT REDIRECT_URI
import Provider from "oidc-provider";

const [port, redirect] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const who = JSON.parse(process.env.PEOPLE);
let person = Object.keys(who)[0];
const provider = new Provider(issuer, {
  clients: [{ client_id: "segue", client_secret: "a secret of the tests", redirect_uris: [redirect] }],
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: false } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...who[id] }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
});
// Every interaction is answered at once: the person signs in and consents.
provider.use(async (ctx, next) => {
  if (ctx.path.startsWith("/be/")) {
    person = ctx.path.slice(4);
    ctx.status = 204;
    return;
  }
  if (!ctx.path.startsWith("/interaction/")) return next();
  const { prompt, params, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
  if (prompt.name === "login") {
    await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: person } });
  } else {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: person, clientId: params.client_id });
    grant.addOIDCScope("openid email profile");
    const id = await grant.save();
    await provider.interactionFinished(ctx.req, ctx.res, { consent: { grantId: id } }, { mergeWithLastSubmission: true });
  }
  ctx.respond = false;
});
provider.listen(Number(port), "127.0.0.1");
