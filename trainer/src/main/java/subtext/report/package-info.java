/** What a person looks at: the page of a run, the page that compares runs, TensorBoard files. Reads run folders, changes nothing in them. */
package subtext.report;
