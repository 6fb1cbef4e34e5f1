// Types of npm packages that have none of their own: only what the project's JavaScript uses.

declare module 'pouchdb-core' {
  namespace PouchDB {
    /** A document with CouchDB's own fields. */
    interface Doc {
      _id: string;
      _rev?: string;
      _revisions?: { start: number; ids: string[] };
      [field: string]: any;
    }

    /** A revision that was asked for, or why there is none. */
    interface Leaf {
      ok?: Doc;
      missing?: string;
      error?: object;
    }

    /** What `changes` and `replicate` return: events, and a promise of the end. */
    interface Running extends Promise<unknown> {
      on(event: string, listener: (value?: any) => void): this;
      once(event: string, listener: (value?: any) => void): this;
      cancel(): void;
    }

    type Callback<Result> = (error: Error | null, result: Result) => void;

    interface Database {
      name: string;
      adapter: string;
      /** A document; with `open_revs`, a list of `Leaf`. */
      get(id: string, options?: { rev?: unknown; revs?: unknown; open_revs?: unknown }): Promise<any>;
      put(doc: Doc, options?: object): Promise<{ ok: boolean; id: string; rev: string }>;
      bulkDocs(request: { docs: Doc[] }, options: { new_edits: false }): Promise<Error[]>;
      changes(options: { since?: number; live?: boolean; limit?: number }): Running;
      once(event: 'created', listener: (db: Database) => void): this;
      // The adapter's own methods, below everything that plug-ins wrap.
      _bulkDocs(request: object, options: object, callback: Callback<{ error?: unknown }[]>): void;
      _info(callback: Callback<{ update_seq: number; doc_count: number }>): void;
    }

    /** The constructor of databases. */
    interface Static {
      new (name: string, options?: { adapter?: string }): Database;
      plugin(plugin: object): Static;
      defaults(options: { prefix?: string }): Static;
      replicate(source: Database | string, target: Database | string, options: object): Running;
      on(event: 'ref', listener: (db: Database) => void): this;
      on(event: 'created' | 'destroyed', listener: (name: string) => void): this;
      /** Added by the package pouchdb-all-dbs. */
      allDbs(): Promise<string[]>;
    }
  }
  const PouchDB: PouchDB.Static;
  export = PouchDB;
}

declare module 'pouchdb-adapter-http' {
  const plugin: object;
  export = plugin;
}

declare module 'pouchdb-adapter-leveldb' {
  const plugin: object;
  export = plugin;
}

declare module 'pouchdb-find' {
  const plugin: object;
  export = plugin;
}

declare module 'pouchdb-mapreduce' {
  const plugin: object;
  export = plugin;
}

declare module 'pouchdb-replication' {
  const plugin: object;
  export = plugin;
}

declare module 'pouchdb-all-dbs' {
  import type { Static } from 'pouchdb-core';

  function install(PouchDB: Static): void;
  export = install;
}

declare module 'pouchdb-bulkdocs-wrapper' {
  import type { Database, Doc } from 'pouchdb-core';

  namespace wrapper {
    interface Arguments {
      base: Database;
      docs: Doc[];
      options: { new_edits?: boolean; secObj?: object };
    }
    /** Check a document before it is written: a rejected promise refuses it. */
    type Check = (doc: Doc, args: Arguments) => Promise<void>;
    /** Write the documents that pass; the rows of the answer. */
    type Write = (bulkDocs: () => Promise<object[]>, args: Arguments) => Promise<{ id: string }[]>;
  }
  function wrapper(check: wrapper.Check): wrapper.Write;
  export = wrapper;
}

declare module 'pouchdb-security' {
  import type { Database } from 'pouchdb-core';

  export function getSecurity(this: Database): Promise<object>;
}

declare module 'express-pouchdb' {
  import type { RequestHandler } from 'express';
  import type { Static } from 'pouchdb-core';

  function server(PouchDB: Static, options: { configPath: string; logPath: string }): RequestHandler;
  export = server;
}

declare module 'express-pouchdb/lib/utils' {
  import type { Request, RequestHandler, Response } from 'express';

  export const jsonParser: RequestHandler;
  /** The options, and in them who sends the request. */
  export function makeOpts<Options extends object>(req: Request, options: Options): Options;
  export function sendError(res: Response, error: object): void;
  export function sendJSON(res: Response, status: number, body: object): void;
  export function setLocation(res: Response, path: string): void;
}

declare module 'multiparty' {
  import type { IncomingMessage } from 'http';
  import type { Readable } from 'stream';

  interface Part extends Readable {
    headers: { [name: string]: string | undefined };
  }
  export class Form {
    constructor(options: { maxFields: number });
    on(event: 'part', listener: (part: Part) => void): this;
    on(event: 'error', listener: (error: Error) => void): this;
    on(event: 'close', listener: () => void): this;
    parse(req: IncomingMessage): void;
  }
}

declare namespace Express {
  interface Request {
    /** Set by express-pouchdb once it knows who sent the request. */
    couchSession: { userCtx: { name: string | null; roles: string[] } };
    /** Set by express-pouchdb where a path begins with the name of a database. */
    db: import('pouchdb-core').Database;
  }
}

declare module 'follow' {
  function follow(
    options: { db: string; include_docs: boolean; since: number },
    callback: (error: Error | null, change: object) => void,
  ): void;
  export = follow;
}

// tests/kit/validation.js loads it by its path: it is a package of the embedded CouchDB.
declare module '*/node_modules/acorn' {
  export function parseExpressionAt(text: string, at: number, options: { ecmaVersion: 5 }): object;
}

/** A global of browsers and of Node.js 20, which the types of Node.js 18 do not have. */
declare const crypto: import('node:crypto').webcrypto.Crypto;
