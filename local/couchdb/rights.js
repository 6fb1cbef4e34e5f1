// @ts-check
'use strict';
// Rights that express-pouchdb does not look at: whoever may not read a database may not search it
// either, administrators alone make indexes, and nobody else writes logins (a device could give
// itself another owner's role). Each is answered as the request is that express-pouchdb guards.

/** @typedef {import('express').RequestHandler} Handler */
/** @typedef {(...args: Parameters<Handler>) => Promise<unknown>} Guard */

const READS = ['/:db/_find', '/:db/_explain', '/:db/_bulk_get'];

/**
 * @param {import('express').Express} app
 * @param {() => string} ownUrl
 */
function install(app, ownUrl) {
  /** @type {(req: import('express').Request, path: string) => Promise<{status: number, body: any}>} */
  const ask = async (req, path) => {
    const { authorization = '', cookie = '' } = req.headers;
    const answer = await fetch(ownUrl() + path, { headers: { authorization, cookie } });
    return { status: answer.status, body: await answer.json() };
  };
  /** @type {Guard} */
  const readersOnly = async (req, res, next) => {
    const { status, body } = await ask(req, `/${encodeURIComponent(req.params.db)}`);
    return status === 200 ? next() : res.status(status).json(body);
  };
  /** @type {Guard} */
  const adminsOnly = async (req, res, next) => {
    const { status, body } = await ask(req, '/_session');
    if (status !== 200) return res.status(status).json(body);
    if (body.userCtx.roles.includes('_admin')) return next();
    return res.status(403).json({ error: 'forbidden', reason: 'You are not a server admin.' });
  };
  /** @type {(guard: Guard) => Handler} */
  const caught = (guard) => (req, res, next) => guard(req, res, next).catch(next);
  app.post(READS, caught(readersOnly));
  app.all(['/:db/_index', '/:db/_index/*'], caught(adminsOnly));
  app.use('/_users', (req, res, next) => (
    ['GET', 'HEAD'].includes(req.method) ? next() : caught(adminsOnly)(req, res, next)
  ));
}

module.exports = { install };
