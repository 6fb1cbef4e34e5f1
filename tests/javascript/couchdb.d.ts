// What CouchDB hands to the functions of a design document.
// Source: https://docs.couchdb.org/en/stable/ddocs/ddocs.html#validate-document-update-functions

/** A document. A device may have written anything into its fields. */
interface CouchDoc {
  _id: string;
  _rev?: string;
  _deleted?: boolean;
  _attachments?: { [name: string]: object };
  [field: string]: any;
}

/** Who writes. */
interface UserContext {
  db: string;
  name: string | null;
  roles: string[];
}

/** A database's `_security`; where a document was replicated to, it may be missing or empty. */
interface SecurityObject {
  admins?: { names?: string[]; roles?: string[] };
  // `any`: owner_control.js gives a role that may be missing to a RegExp, which takes it for a text.
  members?: { names?: string[]; roles?: any[] };
  /** The owners who may write to a public channel (chalicelib/design/public_channel.js). */
  syncpoint?: { roles?: string[] };
}

/** What a chain of a device's steps may lead to, for one type (chalicelib/domain/moves.py). */
interface TypeRules {
  made: string[];
  moves: { [state: string]: string[] };
  again: { [state: string]: string[] };
  counter: string | null;
  fixed: string[];
  deletes: string[];
  answers: string[];
  clouds: string[] | null;
}

/** Return to accept the write; throw `{ forbidden: reason }` to refuse it. */
type ValidateDocUpdate = (
  newDoc: CouchDoc,
  oldDoc: CouchDoc | null,
  userCtx: UserContext,
  secObj: SecurityObject | null | undefined,
) => void;
